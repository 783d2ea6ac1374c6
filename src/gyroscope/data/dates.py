"""Finding out in which format the dates of a text column are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec

EXAMINED = 20_000  # distinct values that are really parsed; the shape is held against all
YEARS = range(1900, 2101)  # a number such as 20150701 is a date only with a year in here

_ISO = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?)?"
# Shape of the day, and the strptime formats it may stand for.
_DAYS = (
    (r"\d{4}-\d{1,2}-\d{1,2}", ("%Y-%m-%d",)),
    (r"\d{4}/\d{1,2}/\d{1,2}", ("%Y/%m/%d",)),
    (r"\d{1,2}/\d{1,2}/\d{4}", ("%d/%m/%Y", "%m/%d/%Y")),
    (r"\d{1,2}/\d{1,2}/\d{2}", ("%d/%m/%y", "%m/%d/%y")),
    (r"\d{1,2}-\d{1,2}-\d{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"\d{1,2}\.\d{1,2}\.\d{4}", ("%d.%m.%Y",)),
    (r"\d{1,2}\.\d{1,2}\.\d{2}", ("%d.%m.%y",)),
    (r"\d{1,2}-[A-Za-z]{3}-\d{4}", ("%d-%b-%Y",)),
    (r"\d{1,2}-[A-Za-z]{3}-\d{2}", ("%d-%b-%y",)),
    (r"\d{1,2} [A-Za-z]{3,9} \d{4}", ("%d %b %Y", "%d %B %Y")),
    (r"[A-Za-z]{3,9} \d{1,2}, \d{4}", ("%b %d, %Y", "%B %d, %Y")),
    (r"\d{4}-\d{2}", ("%Y-%m",)),
    (r"\d{8}", ("%Y%m%d",)),
)
_TIMES = (
    (r"", ""),
    (r" \d{1,2}:\d{2}", " %H:%M"),
    (r" \d{1,2}:\d{2}:\d{2}", " %H:%M:%S"),
    (r" \d{1,2}:\d{2}:\d{2}\.\d{1,6}", " %H:%M:%S.%f"),
    (r" \d{1,2}:\d{2} [AaPp][Mm]", " %I:%M %p"),
    (r" \d{1,2}:\d{2}:\d{2} [AaPp][Mm]", " %I:%M:%S %p"),
    (r" \d{1,2}:\d{2}:\d{2} [+-]\d{2}:?\d{2}", " %H:%M:%S %z"),
)


class Dates(msgspec.Struct, frozen=True, kw_only=True):
    """How the dates of a column are written."""

    format: str | None  # strptime format, None for ISO 8601
    ambiguous: bool = False  # day and month could as well be the other way round
    first: datetime  # earliest of the values examined
    last: datetime


def dates_of(values: Any) -> Dates | None:
    """How the texts of an Arrow array are dates, or None if they are not.

    Every text must have the shape of the format, and up to ``EXAMINED`` of them, evenly spread,
    must be dates of the calendar. Where day and month could change places, the order in which
    the dates come nearer to ascending is taken.
    """
    for shape, formats in _candidates(values[0].as_py()):
        if not _all_match(values, shape):
            continue
        evenly = range(0, len(values), -(-len(values) // EXAMINED))
        examined = values.take(list(evenly)).to_pylist()
        fitting = [(f, moments) for f in formats if (moments := _parsed(examined, f)) is not None]
        if fitting:
            chosen, moments = max(fitting, key=lambda pair: _ascents(pair[1]))
            return Dates(
                format=chosen,
                ambiguous=len(fitting) > 1,
                first=min(moments),
                last=max(moments),
            )
    return None


def _candidates(text: str) -> Iterator[tuple[str, tuple[str | None, ...]]]:
    """Shapes that one text has, with the formats each may stand for."""
    if re.fullmatch(_ISO, text):
        yield _ISO, (None,)
    for day, formats in _DAYS:
        if re.match(day, text):
            for time, suffix in _TIMES:
                if re.fullmatch(day + time, text):
                    yield day + time, tuple(form + suffix for form in formats)


def _all_match(values: Any, shape: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.match_substring_regex(values, f"^(?:{shape})$")).as_py())


def _parsed(texts: Sequence[str], form: str | None) -> list[datetime] | None:
    try:
        moments = [_moment(text, form) for text in texts]
    except ValueError:
        return None
    if form == "%Y%m%d" and any(moment.year not in YEARS for moment in moments):
        return None
    return moments


def _moment(text: str, form: str | None) -> datetime:
    """The moment as a reader of the text would write it down, whatever its zone."""
    if form is None:
        return datetime.fromisoformat(text).replace(tzinfo=None)
    return datetime.strptime(text, form).replace(tzinfo=None)  # noqa: DTZ007 (zone left out)


def _ascents(moments: Sequence[datetime]) -> int:
    return sum(before <= after for before, after in pairwise(moments))
