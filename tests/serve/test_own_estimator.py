"""A version that is an estimator of the user's own: scored, on record, not explained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from tests.serve.conftest import N_FEATURES, ROW, Served, deploy, small_bundle

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.deployment import Canary, Deployed, Deployment
from gyroscope.bundle.keys import Keys, keys_folder
from gyroscope.bundle.links import Link
from gyroscope.serve.app import create_app

pytest.importorskip("skops")
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from gyroscope.bundle.estimator import EstimatorScorer, stored_estimator

TREE = "sklearn.tree._tree.Tree"


def deploy_own(state: Path, estimator: object, version: int = 1) -> None:
    tiny = small_bundle()
    X = np.abs(np.random.default_rng(0).normal(size=(50, N_FEATURES))) * 50
    fitted = estimator.fit(X, X[:, 0] > 40)  # type: ignore[attr-defined]
    folder = state / "bundles" / f"own-{version}"
    Bundle(
        manifest=msgspec.structs.replace(tiny.manifest, scorer="estimator", link="identity"),
        contract=tiny.contract,
        scorer=EstimatorScorer(stored_estimator(fitted), trusted_types=(TREE,)),
        link=Link(kind="identity"),
        reference=tiny.reference,
    ).save(folder, signer=Keys(keys_folder(state)).signer())
    deployed = Deployed(model="churn", version=version, bundle=str(folder))
    Deployment(state / "serving" / "churn").write(deployed, None)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Served]:
    deploy_own(tmp_path, GaussianNB())
    with Served(create_app(tmp_path)) as server:
        yield server


def test_rows_are_scored_alike_alone_and_together_without_explanation(own: Served) -> None:
    one = own.predict().json()
    many = own.predict({"rows": [ROW] * 3, "explain": 0}).json()
    assert [p["probability"] for p in many["predictions"]] == [one["probability"]] * 3
    assert "contributions" not in one
    assert "base" not in one
    assert own.get("/v1/models/churn").json()["explains"] is False


@pytest.mark.parametrize("wish", [{"explain": 1}, {"explain": "all"}, {"sentence": True}])
def test_a_wish_for_an_explanation_is_refused_with_the_reason(
    own: Served, wish: dict[str, object]
) -> None:
    answer = own.predict({"row": ROW, **wish})
    assert answer.status_code == 422
    [problem] = answer.json()["error"]["problems"]
    assert problem["field"] == next(iter(wish))
    assert "an estimator of the user's own, and has none" in problem["expected"]


def test_a_row_that_the_estimator_refuses_is_no_fault_of_the_server(own: Served) -> None:
    answer = own.predict({"row": {**ROW, "balance": None}})
    assert answer.status_code == 422


def test_types_that_the_operator_did_not_allow_do_not_serve(tmp_path: Path) -> None:
    deploy_own(tmp_path, DecisionTreeClassifier(max_depth=2))
    with Served(create_app(tmp_path)) as server:
        problems = server.get("/readyz").json()["problems"]
    assert f"not trusted: {TREE}" in problems[0]
    assert "trusted_types" in problems[0]
    with Served(create_app(tmp_path, trusted_types=[TREE])) as server:
        assert server.predict().status_code == 200


def test_it_is_no_canary_of_a_champion_that_is_explained(tmp_path: Path) -> None:
    deploy_own(tmp_path, GaussianNB(), version=2)
    versions = Deployment(tmp_path / "serving" / "churn").read()
    assert versions is not None
    champion = Deployed(model="churn", version=1, bundle=str(deploy(tmp_path, 1)))
    Deployment(tmp_path / "serving" / "churn").write(
        champion, None, Canary(deployed=versions.champion, percent=100.0)
    )
    with Served(create_app(tmp_path)) as server:
        assert server.predict().json()["version"] == 1
        [warning] = server.get("/readyz").json()["warnings"]
        assert "version 2 is not explained, and the champion is" in warning
