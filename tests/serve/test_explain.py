"""Explanations asked for without a prediction."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.serve.conftest import N_FEATURES, ROW, Served, small_bundle
from tests.serve.test_canary import place

from gyroscope.bundle.deployment import Canary, Deployment
from gyroscope.serve.app import create_app
from gyroscope.serve.champions import ModelTable

EXPLAIN = "/v1/models/churn/explain"


def test_a_row_is_explained_by_all_features_and_leaves_no_record(served: Served) -> None:
    answer = served.post(EXPLAIN, json={"row": ROW}).json()
    predicted = served.post(
        "/v1/models/churn/predict", json={"row": ROW, "explain": N_FEATURES}
    ).json()
    assert len(answer["contributions"]) == N_FEATURES
    assert answer["rest"] == 0
    assert "prediction_id" not in answer
    for name in ("probability", "margin", "base", "contributions", "version"):
        assert answer[name] == predicted[name]
    assert len(list((served.state / "log" / "churn").iterdir())) == 1, "the prediction's only"


@pytest.mark.parametrize("k", [1, 2])
def test_many_rows_are_explained_by_as_many_features_as_asked_for(served: Served, k: int) -> None:
    answer = served.post(EXPLAIN, json={"rows": [ROW, ROW], "explain": k}).json()
    assert [len(one["contributions"]) for one in answer["predictions"]] == [k, k]
    assert not any("prediction_id" in one for one in answer["predictions"])
    assert not (served.state / "log").exists()


def test_a_row_that_does_not_fit_is_refused_as_by_predict(served: Served) -> None:
    answer = served.post(EXPLAIN, json={"row": {**ROW, "age": -1}})
    assert answer.status_code == 422
    assert answer.json()["error"]["problems"][0]["field"] == "age"


def test_any_version_in_memory_explains_and_only_those(state: Path) -> None:
    parts = {number: place(state, number) for number in (1, 2, 3, 4)}
    Deployment(state / "serving" / "churn").write(
        parts[2], parts[1], Canary(deployed=parts[3], percent=50), parts[4]
    )
    rows = [{**ROW, "customer": f"c{i}"} for i in range(20)]
    with Served(create_app(state)) as served:
        for number in parts:
            answer = served.post(f"{EXPLAIN}?version={number}", json={"rows": rows}).json()
            bundle = small_bundle(number)
            expected = bundle.probabilities(bundle.encoder.encode_rows([ROW]))[0]
            assert answer["version"] == number
            assert {one["probability"] for one in answer["predictions"]} == {expected}
            assert all("version" not in one for one in answer["predictions"])
        missing = served.post(f"{EXPLAIN}?version=5", json={"row": ROW})
        assert missing.status_code == 404
        assert "can explain by: 1, 2, 3, 4" in missing.json()["error"]["message"]
        assert not (state / "log").exists()


@pytest.mark.parametrize("query", ["version=", "version=two", "version=-1", "explain=1"])
def test_a_query_that_is_no_version_is_refused(served: Served, query: str) -> None:
    answer = served.post(f"{EXPLAIN}?{query}", json={"row": ROW})
    assert answer.status_code == 422
    expected = "version=N, the number of a version"
    assert answer.json()["error"]["problems"][0]["expected"] == expected


def test_a_challenger_is_promoted_from_memory_and_a_damaged_one_harms_nothing(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deployment = Deployment(state / "serving" / "churn")
    one, two, three = (place(state, number) for number in (1, 2, 3))
    deployment.write(one, None, None, two)
    table = ModelTable(state, None)
    table.refresh()
    challenger = table["churn"].challenger
    assert challenger is not None
    deployment.write(two, one)
    table.refresh()
    assert table["churn"].current().bundle is challenger.bundle
    assert table["churn"].challenger is None
    Path(three.bundle, "contract.json").unlink()
    deployment.write(two, one, None, three)
    for _ in range(3):
        table.refresh()
    assert table["churn"].challenger is None
    assert table["churn"].current().version == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_versions_beside_the_champion_that_cannot_be_loaded_are_tried_again(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gyroscope.serve.champions._RETRY_S", 0.0)
    one, two, three = (place(state, number) for number in (1, 2, 3))
    hidden = [Path(some.bundle).rename(f"{some.bundle}-hidden") for some in (one, three)]
    Deployment(state / "serving" / "churn").write(two, one, None, three)
    table = ModelTable(state, None)
    for _ in range(3):
        table.refresh()
    model = table["churn"]
    assert (model.current().version, model.previous, model.challenger) == (2, None, None)
    assert len(caplog.records) == 2  # each is said once
    for folder, some in zip(hidden, (one, three), strict=True):
        folder.rename(some.bundle)
    table.refresh()
    assert model.previous is not None
    assert model.challenger is not None
    assert (model.previous.version, model.challenger.version) == (1, 3)
