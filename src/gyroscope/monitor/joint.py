"""Have all columns together changed, whatever each of them does by itself?

The correlations that ``drift`` compares see changes of pairs. A classifier that learns to tell the
rows of a window from those of the reference sees any change there is, for more work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gyroscope.data.cells import FloatArray
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.changes import DriftRules
from gyroscope.monitor.scarcity import too_few
from gyroscope.stats.domain_classifier import domain_test

_MOST_SUSPECTS = 5


def domain_finding(
    reference: FloatArray,
    current: FloatArray,
    columns: Sequence[str],
    window: Window | None,
    rules: DriftRules,
    *,
    seed: int = 0,
) -> Finding:
    """Whether a classifier can tell the rows of a window from those of the reference.

    A single column that moves by d standard deviations lets it reach an AUC of Phi(d / sqrt 2), so
    that what is material follows from what is for a column.

    Args:
        reference: float64[n, columns], encoded.
        current: float64[m, columns].
        columns: their names.
        window: the window of the current rows.
        rules: what counts as drift.
        seed: of the classifiers and of how the rows are halved.

    Raises:
        DataError: the two do not have the same columns.
    """
    kind, check = Kind.JOINT_DRIFT, "domain_classifier"
    if min(len(reference), len(current)) < 2 * rules.min_rows:
        needed = 2 * rules.min_rows if len(reference) >= 2 * rules.min_rows else None
        return too_few(kind, check, "all columns", window, n=len(current), needed=needed)
    found = domain_test(reference, current, columns, seed=seed)
    material = (1 + math.erf(math.sqrt(rules.material_psi) / 2)) / 2
    changed = found.p_value <= rules.alpha
    suspects = tuple(found.suspects)[:_MOST_SUSPECTS] if changed else ()
    verdict = Verdict.OK
    if changed:
        verdict = Verdict.WARNING if found.auc > material else Verdict.NOTICE
    told = f"by {', '.join(suspects)} most of all" if changed else "no better than chance"
    return Finding(
        kind=kind,
        check=check,
        subject="all columns",
        verdict=verdict,
        detail=f"A classifier tells these rows from those of the reference with an AUC of "
        f"{found.auc:.3f}, {told} (p {found.p_value:.2g}).",
        window=window,
        n=found.n_current,
        value=found.auc,
        p_value=found.p_value,
        threshold=material,
        suspects=suspects,
    )
