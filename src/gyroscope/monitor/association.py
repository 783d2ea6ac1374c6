"""Do columns and label still go together as on the reference?

A column may stay as it was, and so may the rate of labels, while one no longer says of the other
what it did: association drift, the trace that a changed concept leaves in single columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from gyroscope.data.cells import ColumnSpec, FloatArray, ProfileSpec
from gyroscope.data.outcomes import (
    Counts,
    LabelDispersions,
    coarse_codes,
    contingency,
    label_codes,
)
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.changes import DriftRules, sure_size
from gyroscope.monitor.design_effects import effective
from gyroscope.monitor.scarcity import too_few
from gyroscope.stats.association import (
    AssociationChange,
    correlation_change,
    mutual_information_change,
    pooled_tables,
)
from gyroscope.stats.dispersion import is_dependent, pool
from gyroscope.stats.multiplicity import benjamini_hochberg

_STEP, _STEPS = 1.1, 100  # by which a number of rows that would be enough is looked for


def association_findings(
    reference: Sequence[Counts],
    X: FloatArray,
    y: FloatArray,
    spec: ProfileSpec,
    window: Window | None,
    *,
    label: ColumnSpec | None = None,
    dispersions: LabelDispersions | None = None,
    rules: DriftRules,
) -> list[Finding]:
    """Hold the association of each column with the label against the reference.

    Numbers with labels of two classes, or that are numbers too, by the correlation of ranks; all
    else by mutual information, of which cells and labels of few rows count as one. Two samples
    whose correlation differs by d have a PSI of about d^2 of column and label together, and mutual
    information is about half the squared correlation; so what is material follows from what is for
    a column.

    Args:
        reference: of each column counts[coarse cells, coarse cells of the label] of labelled rows.
        X: float64[n, columns] of the labelled rows of the window.
        y: their labels[n].
        spec: of the columns.
        window: the window.
        label: of the label; None if it is 0 or 1.
        dispersions: how parts of the reference differ in this, which is allowed to windows.
        rules: what counts as drift.
    """
    codes, labels = label_codes(y, label)
    others = len(y) - int(np.bincount(codes, minlength=1).max())  # than the most frequent label
    if min(len(y) / 2, others) < rules.min_rows / 2:
        kind, needed = Kind.ASSOCIATION_DRIFT, max(rules.min_rows, 2 * len(y))
        return [too_few(kind, "association", "all columns", window, n=len(y), needed=needed)]
    varied = dispersions.association if dispersions else ((),) * len(spec.columns)
    dependent = is_dependent(pool(varied))
    pairs = []
    for column, own, table, x in zip(spec.columns, varied, reference, X.T, strict=True):
        then, windows = effective(
            [own] if dependent or is_dependent(own) else [],
            table,
            [contingency(coarse_codes(x, column), codes, len(table), labels)],
        )
        pairs.append(_Pair(column, label, then, windows[0]))
    changes = [pair.change() for pair in pairs]
    corrected = iter(benjamini_hochberg([change.p_value for change in changes if change]))
    n = len(y)
    return [
        _finding(pair, change, float(next(corrected)), n=n, window=window, rules=rules)
        if change
        else _too_few_for_levels(pair, n, window)
        for pair, change in zip(pairs, changes, strict=True)
    ]


class _Pair(msgspec.Struct, frozen=True):
    """A column and the label: counts[cells, labels] of as many rows as independent ones say."""

    column: ColumnSpec
    label: ColumnSpec | None
    then: FloatArray
    now: FloatArray

    def change(self) -> AssociationChange | None:
        """How their association changed; None if the rows are too few for so many levels."""
        then, now = self.then, self.now
        if not self.column.categorical:  # the missing values have no place in the order
            then, now = then[:-1], now[:-1]
        if self.by_ranks:
            return correlation_change(then, now)
        in_order = self.label is not None and not self.label.categorical
        pooled = pooled_tables(then, now, ordered=(not self.column.categorical, in_order))
        one_level = np.count_nonzero((then + now).sum(axis=1)) < 2
        if min(pooled[0].shape) < 2 and not one_level:  # one goes together with nothing
            return None
        return mutual_information_change(*pooled)

    @property
    def by_ranks(self) -> bool:
        """Whether both stand in an order, in which two labels do."""
        return not self.column.categorical and (self.label is None or not self.label.categorical)


def _too_few_for_levels(pair: _Pair, n: int, window: Window | None) -> Finding:
    """That so many levels need more rows, in steps of a tenth how many."""
    larger = (_STEP**k for k in range(1, _STEPS))
    enough = (
        factor
        for factor in larger
        if msgspec.structs.replace(pair, now=pair.now * factor).change() is not None
    )
    factor = next(enough, None)
    return too_few(
        Kind.ASSOCIATION_DRIFT,
        "mutual_information",
        pair.column.name,
        window,
        n=n,
        needed=None if factor is None else math.ceil(n * factor),
    )


def _finding(
    pair: _Pair,
    change: AssociationChange,
    p_value: float,
    *,
    n: int,
    window: Window | None,
    rules: DriftRules,
) -> Finding:
    column = pair.column
    material = math.sqrt(rules.material_psi) if pair.by_ranks else rules.material_psi / 2
    significant, sure = p_value <= rules.alpha, sure_size(change.interval) > material
    verdict = (Verdict.WARNING if sure else Verdict.NOTICE) if significant else Verdict.OK
    what, unit = ("correlation", "") if pair.by_ranks else ("mutual information", " nats")
    opening = "" if significant else "No sure change: "
    return Finding(
        kind=Kind.ASSOCIATION_DRIFT,
        check=what.replace(" ", "_"),
        subject=column.name,
        verdict=verdict,
        detail=f"{opening}{what} of {column.name} and label from {change.reference:.3f} to "
        f"{change.current:.3f}{unit} (95 % interval of the difference {change.interval.low:+.3f} "
        f"to {change.interval.high:+.3f}, p {p_value:.2g}).",
        window=window,
        n=n,
        value=change.value,
        interval=change.interval,
        p_value=p_value,
        threshold=material,
    )
