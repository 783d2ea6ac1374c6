"""From signs of leakage to roles and remarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np

from gyroscope.data.contract import Role
from gyroscope.data.infer_roles import Placed
from gyroscope.data.infer_target import Target
from gyroscope.data.infer_types import Typed
from gyroscope.data.leakage import OneOutcome, Sample, Signs, draw_sample, leakage_signs
from gyroscope.data.remarks import Remark, counted, name_words, percent

CERTAIN_AUC = 0.99  # a single column that tells the classes apart so well is the target itself
SUSPICIOUS_AUC = 0.9
NAMED_AUC = 0.75  # enough for suspicion if the name also speaks of an outcome
ALONE_AUC, ALONE_AHEAD = 0.85, 0.2  # or if every other column is so far behind
RARER = 0.4  # share of a class up to which it is a sign that a value always brings it
OUTCOME_WORDS = name_words("""
    actual after approved assigned cancelled canceled closed completed delay departed duration
    elapsed end ended final finished outcome paid post predicted prediction probability reason
    refund refunded resolution resolved result returned score settled status termination
""")

_ASK = "Is it known when the prediction is made? If not, use `role: ignored`."
_KEEP = "If it really is known when the prediction is made, use `role: feature`."
_EXPLAIN = (
    "If such rows cannot have another outcome, leave them out of the data; if the value is "
    "recorded after the outcome, use `role: ignored`."
)


def without_leaks(
    typed: Mapping[str, Typed], placed: Mapping[str, Placed], target: Target
) -> dict[str, Placed]:
    """Ignore features that are the target in other words; remark on those that may know it."""
    sample = draw_sample(target.against_rest())
    signs = {
        name: leakage_signs(typed[name], sample)
        for name, one in placed.items()
        if one.column.role is Role.FEATURE
    }
    result = dict(placed)
    for name, shown in signs.items():
        others = [s.auc for key, s in signs.items() if key != name and s.auc < CERTAIN_AUC]
        found = _of_a_side(shown) if target.task == "regression" else shown
        remarks = _remarks(name, found, max(others, default=0.5), sample, target)
        leaks = any(remark.kind == "leak" for remark in remarks)
        column = placed[name].column
        if leaks:
            column = msgspec.structs.replace(
                column, role=Role.IGNORED, why=f"leak: alone it has an AUC of {found.auc:.3f}"
            )
        result[name] = Placed(column=column, remarks=(*placed[name].remarks, *remarks))
    return result


def _of_a_side(signs: Signs) -> Signs:
    """What is left of signs that were held against the side of the median on which a number lies:
    to know that is not to know the number."""
    auc = min(signs.auc, float(np.nextafter(CERTAIN_AUC, 0.0)))
    return msgspec.structs.replace(signs, auc=auc, one_outcome=())


def _remarks(
    name: str, signs: Signs, best_other: float, sample: Sample, target: Target
) -> tuple[Remark, ...]:
    """The strongest thing to say about a column, or nothing."""
    if signs.auc >= CERTAIN_AUC:
        message = (
            f"Ignored: it alone gives the target away (AUC {signs.auc:.3f}), so it is the target "
            "in other words or recorded after it."
        )
        return (_warning(name, "leak", message, _KEEP),)
    if signs.missing_together:
        message = (
            f"It is missing in {percent(signs.missing_together)} of the rows without a target and "
            "hardly anywhere else, as if both were recorded at the same time."
        )
        return (_warning(name, "known-later", message, _ASK),)
    if (suspicion := _suspicion(name, signs.auc, best_other)) is not None:
        return (_warning(name, "suspicious", suspicion, _ASK),)
    return tuple(_one_outcome(name, signs.one_outcome, sample, target))


def _warning(name: str, kind: str, message: str, advice: str) -> Remark:
    return Remark(column=name, level="warning", kind=kind, message=message, advice=advice)


def _suspicion(name: str, auc: float, best_other: float) -> str | None:
    if auc >= SUSPICIOUS_AUC or (auc >= ALONE_AUC and auc - best_other >= ALONE_AHEAD):
        ahead = f", the next column {best_other:.2f}" if best_other < auc else ""
        return f"Alone it predicts the target suspiciously well (AUC {auc:.2f}{ahead})."
    telling = outcome_words(name)
    if auc >= NAMED_AUC and telling:
        return (
            f"Alone it predicts the target well (AUC {auc:.2f}), and {telling[0]!r} in its name "
            "sounds like something known only afterwards."
        )
    return None


def outcome_words(name: str) -> list[str]:
    """Words in a column name that sound like something known only after the outcome."""
    return sorted(name_words(name) & OUTCOME_WORDS)


def _one_outcome(
    name: str, found: Iterable[OneOutcome], sample: Sample, target: Target
) -> Iterable[Remark]:
    """A remark on values that always bring the same outcome.

    That a value always brings the rarer class, or that being missing decides, hardly happens with
    what is known beforehand. That it brings the commoner class often has a plain reason.
    """
    told = []
    for one in found:
        share = sample.base_rate if one.positive else 1 - sample.base_rate
        doubtful = one.missing or share <= RARER
        if doubtful or one.exact:
            told.append((not doubtful, -one.rows, one))
    if not told:
        return
    plain, _, one = min(told, key=lambda item: item[:2])
    outcome = _outcome(target, one.positive)
    message = (
        f"Where it {one.values} ({percent(one.rows / sample.y.size)} of the rows) the target is "
        f"{'nearly always' if one.exceptions else 'always'} {outcome}"
        + (f", and {counted(len(told) - 1, 'other value')} like that." if len(told) > 1 else ".")
    )
    if plain:
        yield Remark(
            column=name, level="note", kind="one-outcome", message=message, advice=_EXPLAIN
        )
    else:
        yield _warning(name, "one-outcome", message, _ASK)


def _outcome(target: Target, positive: bool) -> str:
    if target.task == "multiclass":
        return f"not {target.most_frequent!r}" if positive else repr(target.most_frequent)
    values = target.positive if positive else target.negative
    return repr(values[0]) if len(values) == 1 else "positive" if positive else "negative"
