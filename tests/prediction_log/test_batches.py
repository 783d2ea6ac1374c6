"""Predictions in columns are logged as the same predictions one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gyroscope.errors import LogError
from gyroscope.model import PredictionBatch
from gyroscope.prediction_log import FileLog
from gyroscope.prediction_log.records import ROWS_PER_RECORD, encode_predictions

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def batch(n: int, **changed: Any) -> PredictionBatch:
    fields: dict[str, Any] = {
        "ids": [f"p{i:05d}" for i in range(n)],
        "version": 3,
        "times": [NOW + timedelta(seconds=i) for i in range(n)],
        "arrival": NOW,
        "columns": ("x", "town"),
        "rows": [(i / 7, None if i % 5 == 0 else "Ulm") for i in range(n)],
        "scores": [i / n for i in range(n)],
        "entities": [None if i % 3 else f"e{i}" for i in range(n)],
    }
    return PredictionBatch(**{**fields, **changed})


@pytest.mark.parametrize("n", [0, 1, 7, ROWS_PER_RECORD, 2 * ROWS_PER_RECORD + 1])
def test_the_records_have_the_same_bytes(n: int) -> None:
    assert encode_predictions(batch(n)) == encode_predictions(list(batch(n)))


def test_a_part_of_a_batch_has_the_same_predictions() -> None:
    assert list(batch(9)[2:7:2]) == list(batch(9))[2:7:2]
    assert batch(9)[-1] == list(batch(9))[-1]
    with pytest.raises(IndexError):
        batch(9)[9]


def test_a_log_gives_a_batch_back(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    log.append(batch(5))
    assert list(log.read().predictions) == list(batch(5))
    log.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"scores": [0.1, 0.2, "0.3", 0.4]},
        {"rows": [(1,), (2,), (object(),), (4,)]},
        {"times": [NOW, NOW, NOW.replace(tzinfo=None), NOW]},
        {"entities": ["a", None, 5, None]},
    ],
)
def test_the_prediction_that_cannot_be_logged_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(LogError, match="prediction 'p00002' cannot be logged"):
        encode_predictions(batch(4, **wrong))
