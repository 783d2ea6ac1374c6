"""What is said to have changed between two bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.difference import Change, difference, same_encoding
from gyroscope.bundle.environment import build_environment
from gyroscope.bundle.links import Link
from gyroscope.data.contract import Column, ColumnType, Contract
from gyroscope.testing.worlds import CALM, CONTRACT, tiny_bundle

BUNDLE = tiny_bundle()
X = BUNDLE.encoder.encode_rows([event.row for event in CALM.events(0, 1)])


def changed(**parts: Any) -> Bundle:
    """The bundle with other parts; fields of its manifest are given by name."""
    kept = {name: parts.pop(name, getattr(BUNDLE, name)) for name in ("contract", "link", "scorer")}
    manifest = msgspec.structs.replace(BUNDLE.manifest, **parts)
    return Bundle(manifest=manifest, reference=BUNDLE.reference, **kept)


def contract_with(name: str, **fields: Any) -> Contract:
    columns = tuple(
        msgspec.structs.replace(c, **fields) if c.name == name else c for c in CONTRACT.columns
    )
    return msgspec.structs.replace(CONTRACT, columns=columns)


def only(after: Bundle) -> Change:
    [change] = difference(BUNDLE, after).changes
    return change


def test_the_same_bundle_has_no_differences_and_scores_the_same() -> None:
    found = difference(BUNDLE, changed(), X)
    assert found.same
    assert found.scores is not None
    assert (found.scores.rows, found.scores.largest) == (len(X), 0.0)


def test_a_bundle_that_was_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    BUNDLE.save(tmp_path / "one")
    BUNDLE.save(tmp_path / "two")
    one, two = (Bundle.load(tmp_path / name) for name in ("one", "two"))
    assert difference(one, two).same


def test_family_threshold_and_metrics_are_told_with_both_values() -> None:
    metrics = {**BUNDLE.manifest.metrics, "roc_auc": 0.5, "new": 1.0}
    found = difference(BUNDLE, changed(family="xgboost", threshold=0.25, metrics=metrics)).changes
    assert found == (
        Change(part="model", what="family", before="logistic_regression", after="xgboost"),
        Change(part="model", what="threshold", before=0.5, after=0.25),
        Change(
            part="metrics",
            what="roc_auc",
            before=BUNDLE.manifest.metrics["roc_auc"],
            after=0.5,
        ),
        Change(part="metrics", what="new", before=None, after=1.0),
    )


def test_a_library_of_another_version_is_told() -> None:
    here = build_environment()
    assert here == build_environment()
    assert here.libraries["numpy"] == np.__version__
    found = difference(changed(environment=here), changed(environment=None)).changes
    assert {change.what for change in found} == {"python", "platform", *here.libraries}


def test_categories_that_came_and_went_are_told_apart_from_their_order() -> None:
    after = changed(contract=contract_with("plan", categories=("basic", "pro", "gold")))
    assert only(after) == Change(part="categories", what="plan", before=["plus"], after=["gold"])
    after = changed(contract=contract_with("plan", categories=("pro", "plus", "basic")))
    assert only(after) == Change(
        part="categories",
        what="plan: order",
        before=["basic", "plus", "pro"],
        after=["pro", "plus", "basic"],
    )


def test_a_column_that_is_new_changed_or_moved_is_named() -> None:
    more = Column(name="height", type=ColumnType.NUMBER)
    contract = msgspec.structs.replace(CONTRACT, columns=(*CONTRACT.columns, more))
    found = only(changed(contract=contract))
    assert found == Change(part="contract", what="height", after="number, feature")
    found = only(changed(contract=contract_with("age", unit="months")))
    assert found == Change(part="contract", what="age: unit", before="years", after="months")
    moved = msgspec.structs.replace(CONTRACT, columns=CONTRACT.columns[::-1])
    assert only(changed(contract=moved)).what == "order of columns"


def test_other_numbers_in_the_link_are_told_and_priced_in_scores() -> None:
    after = changed(link=Link(kind="logistic", scale=1.0, shift=0.5))
    found = difference(BUNDLE, after, X)
    assert [change.what for change in found.changes] == ["link.affine"]
    old, new = BUNDLE.probabilities(X), after.probabilities(X)
    assert found.scores is not None
    assert found.scores.mean == pytest.approx((new - old).mean())
    assert found.scores.largest == pytest.approx((new - old).max())
    assert found.scores.decisions_changed == pytest.approx(((old < 0.5) & (new >= 0.5)).mean())


def test_bundles_of_other_kinds_differ_by_kind_not_by_array() -> None:
    found = difference(BUNDLE, tiny_bundle(kind="trees"))
    assert Change(part="model", what="scorer", before="additive", after="trees") in found.changes
    assert not [change for change in found.changes if change.part == "scorer"]


def test_rows_are_not_scored_by_bundles_that_encode_them_otherwise() -> None:
    after = changed(contract=contract_with("plan", categories=("pro", "plus", "basic")))
    assert not same_encoding(BUNDLE, after)
    assert difference(BUNDLE, after, X).scores is None
    assert same_encoding(BUNDLE, changed(contract=contract_with("age", unit="months")))
    assert difference(BUNDLE, changed(), X[:0]).scores is None
