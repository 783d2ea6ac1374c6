"""Labels: late, in part, corrected; and those that cannot be accepted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.serve.conftest import ROW, Served

from gyroscope.prediction_log import FileLog


def labels_on_record(served: Served) -> list[Any]:
    log = FileLog(served.state / "log" / "churn")
    joined = log.read()
    log.close()
    return list(joined.labels)


def predicted(served: Served, n: int = 1) -> list[str]:
    answer = served.predict({"rows": [ROW] * n}).json()
    return [prediction["prediction_id"] for prediction in answer["predictions"]]


def test_a_label_for_an_id_just_predicted_is_accepted(served: Served) -> None:
    [prediction_id] = predicted(served)
    before = datetime.now(UTC)
    answer = served.label({"prediction_id": prediction_id, "label": "yes"})
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "unknown": []}
    [label] = labels_on_record(served)
    assert (label.prediction_id, label.label) == (prediction_id, "yes")
    assert before <= label.time == label.arrival <= datetime.now(UTC)


def test_labels_may_come_in_part_and_a_later_one_corrects(served: Served) -> None:
    first, second = predicted(served, 2)
    served.label({"labels": [{"prediction_id": first, "label": "yes", "time": "2026-01-31"}]})
    served.label({"labels": [{"prediction_id": first, "label": "never"}]})
    assert [label and label.label for label in labels_on_record(served)] == ["never", None]
    served.label({"prediction_id": second, "label": "no", "time": "2026-01-31T12:00:00+02:00"})
    assert labels_on_record(served)[1].time == datetime(2026, 1, 31, 10, tzinfo=UTC)


def test_labels_for_unknown_ids_are_named_and_not_kept(served: Served) -> None:
    [known] = predicted(served)
    answer = served.label(
        {
            "labels": [
                {"prediction_id": "nobody", "label": "yes"},
                {"prediction_id": known, "label": "yes"},
                {"prediction_id": "nobody", "label": "no"},
            ]
        }
    )
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 1, "unknown": ["nobody"]}
    assert len(labels_on_record(served)) == 1


def test_every_field_that_is_wrong_is_named_and_no_label_kept(served: Served) -> None:
    [known] = predicted(served)
    answer = served.label(
        {
            "labels": [
                {"prediction_id": known, "label": "yes"},
                {"prediction_id": known, "label": "maybe", "time": "yesterday"},
                {"label": ["yes"], "weight": 2},
                "yes",
            ]
        }
    )
    assert answer.status_code == 422
    problems = [(p["row"], p["field"]) for p in answer.json()["error"]["problems"]]
    assert problems == [
        (1, "label"),
        (1, "time"),
        (2, "weight"),
        (2, "prediction_id"),
        (2, "label"),
        (3, "item"),
    ]
    assert "one of yes, no, never" in answer.text
    assert labels_on_record(served) == [None]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"labels": []}', 422),
        (b'{"labels": {}}', 422),
        (b"{}", 422),
        (b"[]", 422),
        (b"null", 422),
        (b'{"labels": [], "labels": []}', 400),
        (b'{"prediction_id": "a", "prediction_id": "a", "label": "yes"}', 400),
        (b'{"prediction_id": "\\ud800", "label": "yes"}', 400),
        (b'{"prediction_id": "", "label": "yes"}', 422),
        (b'{"prediction_id": "a", "label": NaN}', 400),
        (b'{"prediction_id": "a", "label": null}', 422),
        (b'{"prediction_id": "a", "label": 1e999}', 400),
        (b'{"prediction_id": "a", "label": "yes", "time": "0001-01-01T00:00:00+23:00"}', 422),
        (b'{"prediction_id": "a"', 400),
    ],
)
def test_a_body_that_is_no_label_is_refused(served: Served, body: bytes, status: int) -> None:
    answer = served.label(body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_labels_of_one_request_are_limited_like_rows(served: Served) -> None:
    many = [{"prediction_id": "a", "label": "yes"}] * 10_001
    answer = served.label({"labels": many})
    assert answer.status_code == 413
    assert "at most 10,000 are accepted" in answer.json()["error"]["message"]
