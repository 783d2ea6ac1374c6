"""Scores of several classes through segments and Parquet files."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gyroscope.errors import LogError
from gyroscope.model import Prediction
from gyroscope.prediction_log.records import (
    decode_predictions,
    encode_predictions,
    predictions_at,
)
from gyroscope.prediction_log.table import (
    PREDICTIONS,
    Description,
    Place,
    extended,
    rows_of,
    table_of,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SEVERAL = (0.1, 0.2, 0.7000000000000001)


def made(score: Any, number: int = 0) -> Prediction:
    return Prediction(
        id=f"p{number}",
        version=1,
        time=NOW,
        arrival=NOW,
        columns=("x", "scores"),
        row=(1.5, "a field of this name"),
        score=score,
    )


def stored(rows: list[Prediction], described: Description | None = None) -> Any:
    described = extended(described or Description(), PREDICTIONS, rows)
    places = [Place(segment="s", number=i) for i in range(len(rows))]
    return described, table_of(PREDICTIONS, described, rows, places)


@pytest.mark.parametrize("score", [0.25, SEVERAL, -1e300, (1.0,)])
def test_a_record_gives_scores_back_bit_for_bit(score: Any) -> None:
    (encoded,) = encode_predictions([made(score)])
    assert encoded.columns is not None
    record = decode_predictions(encoded.payload)
    assert predictions_at(record, encoded.columns, [0]) == [made(score)]


@pytest.mark.parametrize("score", ["0.5", None, ("a", 0.5), {"a": 1.0}])
def test_a_score_that_is_none_is_refused(score: Any) -> None:
    with pytest.raises(LogError, match="prediction 'p0' cannot be logged"):
        encode_predictions([made(score)])


def test_a_table_gives_scores_of_both_kinds_back() -> None:
    rows = [made(SEVERAL, 0), made(0.5, 1), made((1.0, 0.0), 2)]
    described, table = stored(rows)
    assert rows_of(PREDICTIONS, described, table) == rows
    assert table.column("score").to_pylist() == [None, 0.5, None]
    assert table.column(described.scores).to_pylist() == [list(SEVERAL), None, [1.0, 0.0]]


def test_a_table_of_single_scores_has_no_more_columns_than_before() -> None:
    described, table = stored([made(0.5)])
    assert described.scores == ""
    assert "scores" in {field.column for field in described.fields}  # the field of that name
    assert table.column("scores").to_pylist() == ["a field of this name"]


def test_scores_of_classes_can_join_a_table_that_has_a_field_of_that_name() -> None:
    described, _ = stored([made(0.5)])
    rows = [made(0.5, 0), made(SEVERAL, 1)]
    described, table = stored(rows, described)
    assert described.scores == "field_scores"
    assert rows_of(PREDICTIONS, described, table) == rows
