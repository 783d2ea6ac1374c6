"""Times as whole microseconds, exactly."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

DAY_US = 86_400_000_000  # microseconds of a day

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(since_1970: int) -> datetime:
    """The time in UTC that :func:`microseconds` made the number of."""
    return _EPOCH + since_1970 * _MICROSECOND


def day_name(number: int) -> str:
    """A day, given in days since 1970, as ``2026-03-01``."""
    return (_EPOCH.date() + timedelta(days=number)).isoformat()


def day_number(name: str) -> int:
    """The day that :func:`day_name` made the name of; raises ValueError."""
    return (date.fromisoformat(name) - _EPOCH.date()).days
