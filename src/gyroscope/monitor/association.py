"""Do columns and label still go together as on the reference?

A column may stay as it was, and so may the rate of labels, while one no longer says of the other
what it did: association drift, the trace that a changed concept leaves in single columns.
"""

from __future__ import annotations

import math

import numpy as np

from gyroscope.data.cells import ColumnSpec, FloatArray, ProfileSpec
from gyroscope.data.outcomes import (
    LabelDispersions,
    Outcomes,
    coarse_cells,
    coarse_codes,
    contingency,
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
    reference: Outcomes,
    X: FloatArray,
    y: FloatArray,
    spec: ProfileSpec,
    window: Window | None,
    *,
    dispersions: LabelDispersions | None = None,
    rules: DriftRules,
) -> list[Finding]:
    """Hold the association of each column with the label against the reference.

    Numbers by the correlation of ranks with the label, categories by their mutual information, of
    which rare ones count as one. Two
    samples whose correlation differs by d have a PSI of about d^2 of column and label together, and
    mutual information is about half the squared correlation; so what is material follows from what
    is for a column.

    Args:
        reference: labelled rows of the reference.
        X: float64[n, columns] of the labelled rows of the window.
        y: their labels[n] in {0, 1}.
        spec: of the columns.
        window: the window.
        dispersions: how parts of the reference differ in this, which is allowed to windows.
        rules: what counts as drift.
    """
    positives = int(y.sum())
    if min(positives, len(y) - positives) < rules.min_rows / 2:
        kind, needed = Kind.ASSOCIATION_DRIFT, max(rules.min_rows, 2 * len(y))
        return [too_few(kind, "association", "all columns", window, n=len(y), needed=needed)]
    varied = dispersions.association if dispersions else ((),) * len(spec.columns)
    dependent = is_dependent(pool(varied))
    found: list[AssociationChange | Finding] = []
    for column, own, table, x in zip(spec.columns, varied, reference.tables, X.T, strict=True):
        then, windows = effective(
            [own] if dependent or is_dependent(own) else [],
            table.sum(axis=1),
            [contingency(coarse_codes(x, column), y, len(table))],
        )
        change = _change(column, then, windows[0])
        found.append(change or _too_few_for_levels(column, then, windows[0], len(y), window))
    changes = [change for change in found if isinstance(change, AssociationChange)]
    corrected = iter(benjamini_hochberg([change.p_value for change in changes]))
    return [
        change
        if isinstance(change, Finding)
        else _finding(column, change, float(next(corrected)), n=len(y), window=window, rules=rules)
        for column, change in zip(spec.columns, found, strict=True)
    ]


def _change(column: ColumnSpec, then: FloatArray, now: FloatArray) -> AssociationChange | None:
    """The change between tables of independent rows; None if they are too few for the levels."""
    if column.categorical:
        pooled = _pooled(then, now)
        return mutual_information_change(*pooled) if pooled else None
    present = coarse_cells(column) - 1  # the missing values have no place in the order
    return correlation_change(then[:present], now[:present])


def _pooled(then: FloatArray, now: FloatArray) -> tuple[FloatArray, FloatArray] | None:
    """The tables with levels put together until each has enough rows; None if one is left."""
    pooled = pooled_tables(then, now)
    if min(pooled[0].shape) > 1:
        return pooled
    one_level = np.count_nonzero((then + now).sum(axis=1)) < 2
    return pooled if one_level else None  # a column of one value goes together with nothing


def _too_few_for_levels(
    column: ColumnSpec, then: FloatArray, now: FloatArray, n: int, window: Window | None
) -> Finding:
    """That so many levels need more rows, in steps of a tenth how many."""
    larger = (_STEP**k for k in range(1, _STEPS))
    enough = next((factor for factor in larger if _pooled(then, now * factor)), None)
    return too_few(
        Kind.ASSOCIATION_DRIFT,
        "mutual_information",
        column.name,
        window,
        n=n,
        needed=None if enough is None else math.ceil(n * enough),
    )


def _finding(
    column: ColumnSpec,
    change: AssociationChange,
    p_value: float,
    *,
    n: int,
    window: Window | None,
    rules: DriftRules,
) -> Finding:
    material = rules.material_psi / 2 if column.categorical else math.sqrt(rules.material_psi)
    significant, sure = p_value <= rules.alpha, sure_size(change.interval) > material
    verdict = (Verdict.WARNING if sure else Verdict.NOTICE) if significant else Verdict.OK
    what = "mutual information" if column.categorical else "correlation"
    opening = "" if significant else "No sure change: "
    unit = " nats" if column.categorical else ""
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
