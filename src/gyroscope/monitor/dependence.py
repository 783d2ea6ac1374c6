"""Do the columns of a window go together as those of the reference do?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from gyroscope.data.cells import ProfileSpec
from gyroscope.data.profile import Profile
from gyroscope.findings import Kind
from gyroscope.monitor import wording
from gyroscope.monitor.changes import DriftRules, Examined
from gyroscope.monitor.design_effects import TableEffects
from gyroscope.stats.dependence import DependenceChange, dependence_changes


def dependences(
    reference: Profile, effects: TableEffects, currents: Sequence[Profile], rules: DriftRules
) -> list[Examined | None]:
    """Of each window the pair of columns whose correlation changed most surely, if it is known.

    Two columns of which each stays as it was and whose correlation changes by d have a joint PSI of
    about d^2, so that the root of what is material for a column is material here.
    """
    if reference.joint is None:
        return [None] * len(currents)
    factors = effects.factors([reference.n, *(current.n for current in currents)])
    known = [
        (k, joint) for k, current in enumerate(currents) if (joint := current.joint) is not None
    ]
    found: list[Examined | None] = [None] * len(currents)
    changes = dependence_changes(
        reference.joint,
        [joint for _, joint in known],
        reference_rows=_worth(reference.joint.n, factors[0]),
        current_rows=[_worth(joint.n, factors[k + 1]) for k, joint in known],
    )
    for (k, _), change in zip(known, changes, strict=True):
        if change.pair is not None and min(change.n_reference, change.n_current) >= rules.min_rows:
            found[k] = _dependence(reference.spec, change, rules)
    return found


def _worth(rows: int, factor: float) -> int:
    """How many independent rows these are worth: one at least, however alike they are."""
    return max(round(rows / factor), 1)


def _dependence(spec: ProfileSpec, change: DependenceChange, rules: DriftRules) -> Examined:
    assert change.pair is not None  # the caller has seen that there is one
    one, other = (spec.columns[position].name for position in change.pair)
    low, high = change.interval.low, change.interval.high
    value = math.atanh(change.current) - math.atanh(change.reference)
    before, after = f"{change.reference:+.2f}", f"{change.current:+.2f}"
    return Examined(
        kind=Kind.JOINT_DRIFT,
        check="correlation",
        subject=f"{one} and {other}",
        n=change.n_current,
        value=value,
        interval=change.interval,
        p_value=change.p_value,
        threshold=math.sqrt(rules.material_psi),
        limit=f"{math.sqrt(rules.material_psi):.2g}",
        found=f"{one} and {other} go together differently",
        calm=f"No sure change of how columns go together, the least so {one} and {other}",
        numbers=f"on Fisher's scale {value:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}, "
        f"worst of {change.pairs} pairs",
        change=lambda: wording.moved(
            "correlation of ranks", before, after, up=change.current > change.reference
        ),
    )
