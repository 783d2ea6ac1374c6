"""How far labelled rows can vouch for the rows of a window, and whether that is enough."""

from __future__ import annotations

from gyroscope.monitor.wording import percent

MOST_UNSUPPORTED = 0.5  # share of a window that is like no labelled row; beyond it nothing is said
FEWEST_LABELLED = 30  # independent labelled rows, by their weights, that an estimate may rest on


def unsupported_share(of_inside: float, beyond: int, n: int) -> float:
    """The share of n rows that are like no labelled one.

    Args:
        of_inside: that share of those rows that lie within the range of the reference.
        beyond: rows that do not.
        n: all rows.
    """
    inside = n - beyond
    return (beyond + inside * of_inside) / n if inside > 0 else 1.0


def not_estimable(unsupported: float, effective_rows: float) -> str | None:
    """Why nothing can be estimated from the labelled rows; None if something can."""
    if unsupported > MOST_UNSUPPORTED:
        return f"{percent(unsupported)} of the rows are like none that had a label"
    if effective_rows < FEWEST_LABELLED:
        return (
            f"at this mix the labelled rows are worth {effective_rows:.0f}, fewer than "
            f"{FEWEST_LABELLED}"
        )
    return None
