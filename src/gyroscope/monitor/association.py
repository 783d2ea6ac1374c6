"""Do columns and label still go together as on the reference?

A column may stay as it was, and so may the rate of labels, while one no longer says of the other
what it did: association drift, the trace that a changed concept leaves in single columns.
"""

from __future__ import annotations

import math

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
)
from gyroscope.stats.dispersion import is_dependent, pool
from gyroscope.stats.multiplicity import benjamini_hochberg


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

    Numbers by the correlation of ranks with the label, categories by their mutual information. Two
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
    found = [
        _change(
            column,
            *effective(
                [own] if dependent or is_dependent(own) else [],
                table.sum(axis=1),
                [contingency(coarse_codes(x, column), y, len(table))],
            ),
        )
        for column, own, table, x in zip(spec.columns, varied, reference.tables, X.T, strict=True)
    ]
    corrected = benjamini_hochberg([change.p_value for change in found])
    return [
        _finding(column, change, float(p), n=len(y), window=window, rules=rules)
        for column, change, p in zip(spec.columns, found, corrected, strict=True)
    ]


def _change(column: ColumnSpec, then: FloatArray, windows: FloatArray) -> AssociationChange:
    (now,) = windows
    if column.categorical:
        return mutual_information_change(then, now)
    present = coarse_cells(column) - 1  # the missing values have no place in the order
    return correlation_change(then[:present], now[:present])


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
