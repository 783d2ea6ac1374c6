"""Where performance is worst: the segments in which the loss exceeds the promise the most."""

from __future__ import annotations

import numpy as np

from gyroscope.data.cells import ColumnSpec, FloatArray, ProfileSpec, bin_edges
from gyroscope.data.outcomes import coarse_cells, coarse_codes
from gyroscope.data.remarks import counted
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.scarcity import too_few
from gyroscope.monitor.wording import value_text
from gyroscope.stats.excess_loss import excess_losses
from gyroscope.stats.segments import MISSING, Restriction, Segment, worst_segments

MATERIAL_EXCESS = 0.05  # nats a prediction beyond the rest, below which nobody need look
FEWEST = 1000  # labelled rows: each half must hold segments of 30 and more


def segment_findings(
    X: FloatArray,
    y: FloatArray,
    p: FloatArray,
    spec: ProfileSpec,
    window: Window | None,
    *,
    alpha: float,
) -> list[Finding]:
    """The worst segments of one or two columns, tested on rows that had no part in finding them.

    What is compared is the excess loss, which is zero on average wherever the scores are right, so
    that rows which are hard to predict are no finding.

    Args:
        X: float64[n, columns] of the labelled rows of the window.
        y: their labels[n] in {0, 1}.
        p: their scores[n].
        spec: of the columns.
        window: the window.
        alpha: chance of any warning in a window whose scores are right.
    """
    if len(y) < FEWEST:
        return [
            too_few(Kind.SEGMENT, "segment_excess", "segments", window, n=len(y), needed=FEWEST)
        ]
    codes = np.column_stack(
        [_codes(x, column) for x, column in zip(X.T, spec.columns, strict=True)]
    )
    ordered = [not column.categorical for column in spec.columns]
    found = worst_segments(codes, excess_losses(y, p), ordered, alpha=0.05)
    sure = [segment for segment in found if segment.p_value <= alpha]
    if sure:
        return [_finding(segment, spec, window, alpha) for segment in sure]
    return [
        Finding(
            kind=Kind.SEGMENT,
            check="segment_excess",
            subject="segments",
            verdict=Verdict.OK,
            detail=f"No segment of {len(y)} labelled rows is surely worse than the rest.",
            window=window,
            n=len(y),
            p_value=min((segment.p_value for segment in found), default=1.0),
            threshold=alpha,
        )
    ]


def _codes(values: FloatArray, column: ColumnSpec) -> FloatArray:
    codes = coarse_codes(values, column)
    return np.where(codes == coarse_cells(column) - 1, MISSING, codes)


def _finding(segment: Segment, spec: ProfileSpec, window: Window | None, alpha: float) -> Finding:
    where = " and ".join(_words(r, spec.columns[r.column]) for r in segment.restrictions)
    low, high = segment.interval.low, segment.interval.high
    return Finding(
        kind=Kind.SEGMENT,
        check="segment_excess",
        subject=where,
        verdict=Verdict.WARNING if low > MATERIAL_EXCESS else Verdict.NOTICE,
        detail=f"Where {where}, predictions lose {segment.difference:.3f} nats each more than "
        f"elsewhere, beyond what their scores promised ({counted(segment.n, 'row')}, 95 % interval "
        f"{low:+.3f} to {high:+.3f}, p {segment.p_value:.2g}).",
        window=window,
        n=segment.n,
        value=segment.difference,
        interval=segment.interval,
        p_value=segment.p_value,
        threshold=MATERIAL_EXCESS,
        suspects=tuple(spec.columns[r.column].name for r in segment.restrictions),
    )


def _words(restriction: Restriction, column: ColumnSpec) -> str:
    if restriction.first == MISSING:
        return f"{column.name} is missing"
    if column.categorical:
        names = column.categories
        level = names[restriction.first] if restriction.first < len(names) else "another value"
        return f"{column.name} is {level}"
    ends = bin_edges(column)
    low = "" if restriction.first == 0 else f"{value_text(ends[restriction.first - 1], column)} < "
    high = (
        "" if restriction.last >= len(ends) else f" <= {value_text(ends[restriction.last], column)}"
    )
    return f"{low}{column.name}{high}"
