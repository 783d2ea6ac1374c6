"""The most frequent of very many values, in little memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

KEPT = 32


class HeavyHitters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The values that may be frequent, with counts that are at most ``error`` too low.

    Of n observations, every value with more than n / (KEPT + 1) of them is among those kept, and
    ``error`` is at most (n - the counts kept) / (KEPT + 1).
    """

    counts: tuple[tuple[str, int], ...] = ()  # value and count, most frequent first
    error: int = 0


def heavy_hitters(counts: Mapping[str, int], *, error: int = 0) -> HeavyHitters:
    """The heavy hitters among values with their counts, all positive and at most ``error`` too low.

    Source:
        Misra and Gries (1982), Finding repeated elements; in this form, which can be merged,
        Agarwal, Cormode, Huang, Phillips, Wei and Yi (2013), Mergeable summaries, section 3.
    """
    # Ties in order of the values, so that equal data give equal results.
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    excess = ranked[KEPT][1] if len(ranked) > KEPT else 0
    kept = tuple((value, count - excess) for value, count in ranked[:KEPT] if count > excess)
    return HeavyHitters(counts=kept, error=error + excess)


def merged_hitters(parts: Iterable[HeavyHitters]) -> HeavyHitters:
    """The heavy hitters of all parts together; the bound on the error holds for the whole."""
    total: Counter[str] = Counter()
    error = 0
    for part in parts:
        error += part.error
        for value, count in part.counts:
            total[value] += count
    return heavy_hitters(total, error=error)
