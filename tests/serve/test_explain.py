"""Explanations asked for without a prediction."""

from __future__ import annotations

import pytest
from tests.serve.conftest import N_FEATURES, ROW, Served

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
