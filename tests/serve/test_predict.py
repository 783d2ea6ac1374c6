"""Predictions: the answer, its explanation, and what is on record when it is sent."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serve.conftest import CONTRACT, N_FEATURES, ROW, Served, deploy, small_bundle

from gyroscope.prediction_log import FileLog
from gyroscope.serve.app import create_app
from gyroscope.serve.scoring import score

rows = st.fixed_dictionaries(
    {
        "age": st.integers(0, 120),
        "balance": st.none() | st.just("?") | st.floats(-1e6, 1e6),
        "job": st.sampled_from(["clerk", "nurse", "smith"]),
        "town": st.sampled_from(["Ulm", "Bern: old town"]) | st.text(min_size=1).filter(str.strip),
        "owner": st.booleans() | st.sampled_from(["yes", "NO"]),
        "joined": st.none() | st.datetimes(datetime(1970, 1, 2)).map(datetime.isoformat),  # noqa: DTZ001
    },
    optional={
        "at": st.datetimes(datetime(1970, 1, 2), timezones=st.just(UTC)).map(datetime.isoformat),  # noqa: DTZ001
        "customer": st.none() | st.integers(0, 2**53) | st.text(max_size=9),
        "sex": st.none() | st.sampled_from(["f", "m"]),
        "note": st.none() | st.text(max_size=9),
    },
)


def logged(state: Path, model: str = "churn") -> Any:
    log = FileLog(state / "log" / model)
    joined = log.read()
    log.close()
    return joined


def test_one_row_is_answered_with_its_probability_and_three_largest_contributions(
    served: Served,
) -> None:
    answer = served.predict().json()
    bundle = small_bundle(1)
    X = bundle.encoder.encode_rows([ROW])
    values = bundle.contributions(X).values[0]
    assert answer["model"] == "churn"
    assert answer["version"] == 1
    assert answer["probability"] == bundle.probabilities(X)[0]
    assert answer["margin"] == bundle.margins(X)[0]
    assert answer["threshold"] == 0.5
    assert answer["label"] == ("yes" if answer["probability"] >= 0.5 else "no")
    names = [CONTRACT.features[j].name for j in np.argsort(-np.abs(values))[:3]]
    assert [listed["feature"] for listed in answer["contributions"]] == names
    assert [listed["value"] for listed in answer["contributions"]] == [ROW[name] for name in names]


def test_many_rows_are_answered_in_their_order_and_without_explanation(served: Served) -> None:
    ages = list(range(20, 60))
    answer = served.predict({"rows": [{**ROW, "age": age} for age in ages]}).json()
    bundle = small_bundle(1)
    X = bundle.encoder.encode_rows([{**ROW, "age": age} for age in ages])
    expected = bundle.probabilities(X).tolist()
    assert [p["probability"] for p in answer["predictions"]] == expected
    assert "base" not in answer
    assert all("contributions" not in p for p in answer["predictions"])
    ids = [p["prediction_id"] for p in answer["predictions"]]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("k", [0, 1, N_FEATURES])
def test_explain_says_how_many_contributions_to_list(served: Served, k: int) -> None:
    one = served.predict({"row": ROW, "explain": k}).json()
    many = served.predict({"rows": [ROW, ROW], "explain": k}).json()
    assert len(one.get("contributions", ())) == k
    assert [len(p.get("contributions", ())) for p in many["predictions"]] == [k, k]
    assert ("base" in one, "base" in many, "rest" in one) == (k > 0,) * 3


def test_all_contributions_are_listed_if_all_are_asked_for(served: Served) -> None:
    answer = served.predict({"rows": [ROW], "explain": "all"}).json()
    [prediction] = answer["predictions"]
    assert len(prediction["contributions"]) == N_FEATURES
    assert prediction["rest"] == 0


@given(row=rows, k=st.integers(1, N_FEATURES))
@settings(deadline=None, max_examples=30)
def test_in_probability_base_contributions_and_rest_add_up_to_the_probability(
    churn: Served, row: dict[str, Any], k: int
) -> None:
    answer = churn.predict({"row": row, "explain": k, "space": "probability"}).json()
    total = sum(one["contribution"] for one in answer["contributions"])
    assert answer["base"] + total + answer["rest"] == pytest.approx(answer["probability"], abs=1e-9)


def test_a_prediction_is_put_into_words_if_asked_for(served: Served) -> None:
    one = served.predict({"row": ROW, "sentence": True}).json()
    many = served.predict({"rows": [ROW, ROW], "sentence": True, "explain": 1}).json()
    assert one["sentence"].startswith("Probability of churned yes: ")
    assert [p["sentence"] for p in many["predictions"]] == [one["sentence"]] * 2
    assert "sentence" not in served.predict().json()


def test_there_is_no_sentence_without_contributions(served: Served) -> None:
    answer = served.predict({"row": ROW, "sentence": True, "explain": 0})
    assert answer.status_code == 422
    [problem] = answer.json()["error"]["problems"]
    assert (problem["field"], problem["expected"]) == ("explain", "1 to 6, the number of features")


@pytest.mark.parametrize("k", [-1, N_FEATURES + 1, 10**30])
def test_more_contributions_than_features_are_refused(served: Served, k: int) -> None:
    answer = served.predict({"row": ROW, "explain": k})
    assert answer.status_code == 422
    [problem] = answer.json()["error"]["problems"]
    assert problem["field"] == "explain"
    assert problem["expected"] == "0 to 6, the number of features"


@given(row=rows, k=st.integers(1, N_FEATURES))
@settings(deadline=None, max_examples=60)
def test_base_contributions_and_rest_add_up_to_the_margin(
    churn: Served, row: dict[str, Any], k: int
) -> None:
    answer = churn.predict({"row": row, "explain": k}).json()
    listed = [one["contribution"] for one in answer["contributions"]]
    total = answer["base"] + sum(listed) + answer["rest"]
    assert total == pytest.approx(answer["margin"], abs=1e-9, rel=1e-12)
    assert listed == sorted(listed, key=abs, reverse=True)


@given(batch=st.lists(rows, min_size=1, max_size=8))
@settings(deadline=None, max_examples=30)
def test_logged_rows_scored_in_one_batch_give_the_logged_scores_bit_for_bit(
    churn: Served, batch: list[dict[str, Any]]
) -> None:
    answers = [churn.predict({"row": row}).json() for row in batch]
    answers += churn.predict({"rows": batch}).json()["predictions"]
    told = {answer["prediction_id"]: answer["probability"] for answer in answers}
    records = [p for p in logged(churn.state).predictions if p.id in told]
    assert len(records) == 2 * len(batch)
    bundle = small_bundle(1)
    table = bundle.encoder.encode_logged(records[0].columns, [record.row for record in records])
    assert table.fits.all()
    assert bundle.probabilities(table.X).tolist() == [record.score for record in records]
    assert {record.id: record.score for record in records} == told


def test_a_prediction_is_on_record_as_it_was_sent(served: Served) -> None:
    sent = {**ROW, "balance": "?", "at": "2026-03-01T12:00:00+02:00", "customer": 17, "sex": "f"}
    before = datetime.now(UTC)
    answer = served.predict({"row": sent}).json()
    [record] = logged(served.state).predictions
    assert record.id == answer["prediction_id"]
    assert record.version == 1
    assert record.score == answer["probability"]
    assert record.time == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert answer["time"] == "2026-03-01T10:00:00Z"
    assert before <= record.arrival <= datetime.now(UTC)
    assert record.entity == "17"
    kept = dict(zip(record.columns, record.row, strict=True))
    assert kept == {name: sent[name] for name in [*ROW, "sex"]}


def test_the_event_time_is_the_arrival_for_rows_that_bring_none(served: Served) -> None:
    served.predict({"rows": [ROW, {**ROW, "at": None}]})
    for record in logged(served.state).predictions:
        assert record.time == record.arrival


def test_a_large_batch_is_scored_like_its_rows_one_by_one(served: Served) -> None:
    batch = [{**ROW, "age": i % 100, "balance": i / 7} for i in range(1500)]
    answer = served.predict({"rows": batch, "explain": 2}).json()
    bundle = small_bundle(1)
    expected = bundle.probabilities(bundle.encoder.encode_rows(batch)).tolist()
    assert [p["probability"] for p in answer["predictions"]] == expected
    assert len(logged(served.state).predictions) == 1500


def test_one_row_of_a_large_body_does_not_hold_up_the_event_loop(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored_in = []

    def noted(*arguments: Any, **options: Any) -> Any:
        scored_in.append(threading.current_thread().name.partition("_")[0])
        return score(*arguments, **options)

    monkeypatch.setattr("gyroscope.serve.endpoints.score", noted)
    assert served.predict().status_code == 200
    assert scored_in == [], "a small one needs no thread"
    assert served.predict({"row": {f"x{i}": 0 for i in range(20_000)}}).status_code == 422
    assert scored_in == ["scoring"]


def test_nothing_is_acknowledged_when_the_log_cannot_be_written(state: Path) -> None:
    (state / "log").write_text("in the way of the folder")
    with Served(create_app(state)) as server:
        answer = server.predict()
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "service_unavailable"
        assert "nothing was stored" in answer.json()["error"]["message"]
        assert answer.headers["retry-after"] == "1"
        assert "prediction_id" not in answer.text
        (state / "log").unlink()
        assert server.predict().status_code == 200, "the next append is tried afresh"


def test_a_model_without_champion_answers_503_and_an_unknown_one_404(tmp_path: Path) -> None:
    with Served(create_app(tmp_path, ["churn"])) as server:
        early = server.predict()
        assert early.status_code == 503
        assert "model churn has no champion yet" in early.json()["error"]["message"]
        unknown = server.predict(model="chrun")
        assert unknown.status_code == 404
        assert unknown.json()["error"]["message"] == "no such model; this server has: churn"


def test_a_score_that_overflows_is_refused_with_its_rows(tmp_path: Path) -> None:
    deploy(tmp_path, 1, bundle=small_bundle(1, balance_scale=1e3))
    with Served(create_app(tmp_path)) as server:
        for explain in (0, 2):
            body = {"rows": [ROW, {**ROW, "balance": 1.7e308}], "explain": explain}
            answer = server.predict(body)
            assert answer.status_code == 422
            [problem] = answer.json()["error"]["problems"]
            assert problem["row"] == 1
            assert problem["given"] == "numbers so large that the score overflows"


def test_a_fault_of_the_server_is_answered_in_shape_and_logged_without_values(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError(ROW["job"])

    monkeypatch.setattr("gyroscope.serve.lane.numbers_of", broken)
    answer = served.predict()
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_server_error"
    request_id = answer.headers["x-request-id"]
    assert f"request {request_id} failed with ValueError" in caplog.text
    assert "endpoints.py" in caplog.text
    assert "nurse" not in caplog.text + answer.text
