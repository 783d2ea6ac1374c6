"""Too little data is an answer too, with the number of rows that would be enough."""

from __future__ import annotations

from gyroscope.data.remarks import are, counted
from gyroscope.findings import Finding, Kind, Verdict, Window


def too_few(
    kind: Kind, check: str, subject: str, window: Window | None, *, n: int, needed: int | None
) -> Finding:
    """The finding that ``n`` rows do not tell a change of ``subject`` from chance.

    ``needed`` rows would; None if no window is large enough because the reference is too small.
    """
    remedy = (
        "the reference itself has too few; take a larger one"
        if needed is None
        else f"{needed} would be enough"
    )
    return Finding(
        kind=kind,
        check=check,
        subject=subject,
        verdict=Verdict.NOT_ENOUGH_DATA,
        detail=f"{subject}: {counted(n, 'row')} with a value {are(n)} too few to "
        f"tell a change from chance; {remedy}.",
        window=window,
        n=n,
        n_needed=needed,
    )
