"""Is the stream of rows as it was: as many as usual, and not the same ones again and again?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gyroscope.data.remarks import are, counted
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.scarcity import too_few
from gyroscope.monitor.wording import percent
from gyroscope.stats.tails import poisson_lower

REPEATED_SHARE = 0.50  # rows that repeat others, beyond what the reference has
COLLAPSED_TO = 0.10  # share of the rows of a quiet window
QUIET = 0.05  # a quiet window: the quantile of past windows, so that week-ends and nights are known
MIN_HISTORY = 14  # windows before a count can be called unusual; two weeks of daily ones
CERTAIN = 1e-6  # a count so low by chance once in 2700 years of daily windows


def duplicate_rows_finding(
    reference_share: float, share: float, n: int, window: Window, *, min_rows: int
) -> Finding:
    """Whether far more rows than in the reference repeat others exactly; at most a warning.

    It may be a sender that repeats itself, or a nightly job that scores the same customers again,
    which is harmless: rows alone do not say.

    Args:
        reference_share: :func:`~gyroscope.stats.duplicates.duplicate_share` of the reference.
        share: the same of the window.
        n: rows of the window.
        window: the window.
        min_rows: rows below which the answer is "not enough data".
    """
    if n < min_rows:
        return too_few(Kind.DATA_QUALITY, "duplicate_rows", "rows", window, n=n, needed=min_rows)
    suspect = share - reference_share >= REPEATED_SHARE
    return Finding(
        kind=Kind.DATA_QUALITY,
        check="duplicate_rows",
        subject="rows",
        verdict=Verdict.WARNING if suspect else Verdict.OK,
        detail=f"{percent(share)} of {counted(n, 'row')} repeat another row exactly; "
        f"in the reference {percent(reference_share)} do.",
        window=window,
        n=n,
        value=share,
        threshold=min(reference_share + REPEATED_SHARE, 1.0),
    )


def row_count_finding(n: int, history: Sequence[int], window: Window) -> Finding:
    """Whether the stream of rows has collapsed: far fewer than in the quietest past windows.

    With no row at all the check is called "stale_feed".

    Args:
        n: rows of the window.
        history: rows of past windows of the same length, at least ``MIN_HISTORY`` of them for an
            answer; give whole weeks so that week-ends and nights are among them.
        window: the window.
    """
    if len(history) < MIN_HISTORY:
        verdict, quiet = Verdict.NOT_ENOUGH_DATA, math.nan
        past = counted(len(history), "past window")
        rows = counted(n, "row")
        detail = f"{past} {are(len(history))} too few to tell whether {rows} {are(n)} usual."
    else:
        quiet = float(np.quantile(np.asarray(history), QUIET, method="inverted_cdf"))
        collapsed = n < COLLAPSED_TO * quiet and _poisson_below(n, quiet) < CERTAIN
        verdict = Verdict.ALARM if collapsed else Verdict.OK
        detail = f"{counted(n, 'row')} came; quiet windows have had {quiet:g}."
    return Finding(
        kind=Kind.DATA_QUALITY,
        check="row_count" if n else "stale_feed",
        subject="rows",
        verdict=verdict,
        detail=detail,
        window=window,
        n=n,
        value=float(n),
        threshold=None if math.isnan(quiet) else COLLAPSED_TO * quiet,
    )


def _poisson_below(n: int, mean: float) -> float:
    """P(N <= n) for a Poisson N."""
    return float(poisson_lower(n, mean))
