"""What changed from one bundle to another, and what that does to scores."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Matrix
from gyroscope.bundle.bundle import Bundle
from gyroscope.data.contract import Column

Part = Literal["model", "training", "contract", "categories", "metrics", "scorer", "reference"]
_MODEL = ("model", "family", "scorer", "link", "threshold")
_TRAINING = ("snapshot", "trained_from", "trained_until", "gyroscope")
_ENCODED = ("name", "type", "categories", "unknown", "true", "false", "missing")


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not the same in both bundles."""

    part: Part
    what: str  # e.g. the name of a column, setting or metric
    before: Any = None  # JSON value; None if it was not there
    after: Any = None  # None if it is no longer there


class ScoreDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Scores of both bundles on the same rows, over all classes if there are several."""

    rows: int
    mean: float  # of after - before
    mean_absolute: float
    largest: float  # absolute
    decisions_changed: float | None  # share of rows that are labelled otherwise; None for values


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """All that changed."""

    changes: tuple[Change, ...]
    scores: ScoreDifference | None  # None if there are no rows that both can score

    @property
    def same(self) -> bool:
        """Whether both hold the same training result."""
        return not self.changes


def difference(before: Bundle, after: Bundle, X: Matrix | None = None) -> Difference:
    """Compare two bundles; ``X`` has rows ``float64[n, p]`` as the contract of both encodes them.

    Rows are scored only if :func:`same_encoding`.
    """
    changes = (
        *_records("model", before.manifest, after.manifest, _MODEL),
        *_training(before, after),
        *_contract(before, after),
        *_changes("metrics", before.manifest.metrics, after.manifest.metrics),
        *_scorers(before, after),
        *_changes("reference", _reference(before), _reference(after)),
    )
    if X is None or not len(X) or not same_encoding(before, after):
        return Difference(changes=changes, scores=None)
    return Difference(changes=changes, scores=_scores(before, after, X))


def same_encoding(one: Bundle, other: Bundle) -> bool:
    """Whether the same values become the same numbers in both, and scores mean the same."""
    encoded = [
        (_encoding(of.contract.features), of.contract.task, of.contract.classes)
        for of in (one, other)
    ]
    return encoded[0] == encoded[1]


def _encoding(columns: tuple[Column, ...]) -> list[tuple[Any, ...]]:
    return [tuple(getattr(column, field) for field in _ENCODED) for column in columns]


def _scores(before: Bundle, after: Bundle, X: Matrix) -> ScoreDifference:
    old, new = before.scores(X), after.scores(X)
    gap = new - old
    changed: float | None = None
    if before.contract.task == "multiclass":
        changed = float((old.argmax(axis=1) != new.argmax(axis=1)).mean())
    elif before.contract.task == "binary":
        changed = float(((old >= before.threshold) != (new >= after.threshold)).mean())
    return ScoreDifference(
        rows=len(X),
        mean=float(gap.mean()),
        mean_absolute=float(np.abs(gap).mean()),
        largest=float(np.abs(gap).max()),
        decisions_changed=changed,
    )


def _records(
    part: Part, before: object, after: object, fields: tuple[str, ...]
) -> Iterator[Change]:
    old, new = ({field: getattr(of, field) for field in fields} for of in (before, after))
    return _changes(part, old, new)


def _changes(part: Part, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """What differs between two mappings, in order of the first, then what is new."""
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old != new:
            yield Change(part=part, what=name, before=old, after=new)


def _training(before: Bundle, after: Bundle) -> Iterator[Change]:
    yield from _records("training", before.manifest, after.manifest, _TRAINING)
    yield from _changes("training", _environment(before), _environment(after))


def _environment(bundle: Bundle) -> dict[str, str]:
    found = bundle.manifest.environment
    if found is None:
        return {}
    return {"python": found.python, "platform": found.platform, **found.libraries}


def _contract(before: Bundle, after: Bundle) -> Iterator[Change]:
    yield from _records(
        "contract", before.contract, after.contract, ("task", "positive", "negative", "classes")
    )
    old, new = ({c.name: c for c in of.contract.columns} for of in (before, after))
    for name in {**old, **new}:
        if name in old and name in new:
            yield from _column(old[name], new[name])
        else:
            kinds = [f"{c.type}, {c.role}" if (c := of.get(name)) else None for of in (old, new)]
            yield Change(part="contract", what=name, before=kinds[0], after=kinds[1])
    if set(old) == set(new) and list(old) != list(new):
        yield Change(part="contract", what="order of columns", before=list(old), after=list(new))


def _column(before: Column, after: Column) -> Iterator[Change]:
    name = before.name
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    categories = old.pop("categories", ()), new.pop("categories", ())
    for change in _changes("contract", old, new):
        yield msgspec.structs.replace(change, what=f"{name}: {change.what}")
    if categories[0] != categories[1]:
        gone = [c for c in categories[0] if c not in set(categories[1])]
        added = [c for c in categories[1] if c not in set(categories[0])]
        if gone or added:
            yield Change(part="categories", what=name, before=gone, after=added)
        else:
            yield Change(part="categories", what=f"{name}: order", before=list(categories[0]),
                         after=list(categories[1]))  # fmt: skip


def _scorers(before: Bundle, after: Bundle) -> Iterator[Change]:
    """Arrays that differ; none where the kind of the scorer does, which says it all."""
    if before.manifest.scorer == after.manifest.scorer:
        yield from _changes("scorer", _arrays(before), _arrays(after))


def _arrays(bundle: Bundle) -> dict[str, str]:
    """Shape and digest of each array of scorer and link."""
    parts = {"scorer": bundle.scorer.arrays(), "link": bundle.link.arrays()}
    return {
        f"{part}.{name}": _described(array)
        for part, arrays in parts.items()
        for name, array in arrays.items()
    }


def _described(array: NDArray[Any]) -> str:
    size = ", ".join(map(str, array.shape))
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return f"{array.dtype}[{size}] {digest[:12]}"


def _reference(bundle: Bundle) -> dict[str, Any]:
    reference = bundle.reference
    scores = reference.scores.columns
    file = bundle.manifest.files.get("reference.json")
    return {
        "test rows": reference.n,
        "positives": reference.positives,
        "mean score": scores[0].mean if scores else None,
        "training rows": reference.columns.n,
        "profiles": file.sha256[:12] if file else None,
    }
