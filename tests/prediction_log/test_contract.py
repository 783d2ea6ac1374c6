"""Every implementation keeps the contract, and gives back any value bit for bit."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gyroscope.findings import Window
from gyroscope.model import Label, Prediction, Value
from gyroscope.prediction_log import FileLog, Joined, MemoryLog, PredictionLog
from gyroscope.prediction_log.compaction import compact
from gyroscope.prediction_log.table import (
    LABELS,
    PREDICTIONS,
    Description,
    Place,
    extended,
    rows_of,
    table_of,
)
from gyroscope.testing.prediction_log import DurableLogContract, PredictionLogContract, label


class TestMemoryLog(PredictionLogContract):
    def open_log(self, folder: Path) -> PredictionLog:
        return MemoryLog()


class TestFileLog(DurableLogContract):
    def open_log(self, folder: Path) -> PredictionLog:
        return FileLog(folder)


class TestFileLogInTinySegments(DurableLogContract):
    def open_log(self, folder: Path) -> PredictionLog:
        return FileLog(folder, fsync=False, segment_bytes=1, writer="tiny")


class CompactedLog(FileLog):
    """Moves all it has written into Parquet files before each look."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, fsync=False)
        self.folder = folder

    def read(self, window: Window | None = None, *, as_of: datetime | None = None) -> Joined:
        compact(self.folder)
        return super().read(window, as_of=as_of)

    def times(self, window: Window | None = None) -> NDArray[np.int64]:
        compact(self.folder, part_bytes=1)
        return super().times(window)

    def known(self, prediction_ids: Sequence[str]) -> set[str]:
        compact(self.folder, part_bytes=5000)
        return super().known(prediction_ids)

    def arrivals(self, prediction_id: str) -> tuple[Label, ...]:
        compact(self.folder, part_bytes=1)
        return super().arrivals(prediction_id)


class TestFileLogCompactedAllTheTime(DurableLogContract):
    def open_log(self, folder: Path) -> PredictionLog:
        return CompactedLog(folder)


times = st.datetimes(timezones=st.just(UTC))
texts = st.text(st.characters(exclude_categories=["Cs"]))
values: st.SearchStrategy[Value] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**200), max_value=2**200)
    | st.floats()
    | st.sampled_from([-0.0, 5e-324, 2.2e-308, 1e308, 2**63, 2**64, -(2**63) - 1, 2**53 + 1])
    | texts
)


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    row = draw(st.dictionaries(texts, values, max_size=5))
    return Prediction(
        id=draw(texts),
        version=draw(st.integers(min_value=1, max_value=2**31)),
        time=draw(times),
        arrival=draw(times),
        columns=tuple(row),
        row=tuple(row.values()),
        score=draw(st.floats()),
        entity=draw(st.none() | texts),
    )


def exact(value: object) -> object:
    """The value with its type, and floats as their bits."""
    if isinstance(value, Prediction | Label):
        return tuple(exact(getattr(value, field)) for field in value.__struct_fields__)
    if isinstance(value, tuple):
        return tuple(exact(part) for part in value)
    return type(value), struct.pack("<d", value) if isinstance(value, float) else value


@pytest.mark.parametrize("make", [lambda _: MemoryLog(), lambda f: FileLog(f, fsync=False)])
@settings(deadline=None, max_examples=40)
@given(
    written=st.lists(st.tuples(predictions(), values, times, times), unique_by=lambda x: x[0].id)
)
def test_everything_comes_back_bit_for_bit(
    make: Callable[[Path], PredictionLog],
    written: list[tuple[Prediction, Value, datetime, datetime]],
) -> None:
    labels = [
        Label(prediction_id=p.id, label=value, time=time, arrival=arrival)
        for p, value, time, arrival in written
    ]
    with tempfile.TemporaryDirectory() as folder:
        log = make(Path(folder))
        log.append([p for p, *_ in written])
        log.append_labels(labels)
        read = log.read()
        log.close()
    pairs = zip(read.predictions, read.labels, strict=True)
    assert {p.id: (exact(p), exact(found)) for p, found in pairs} == {
        p.id: (exact(p), exact(label)) for (p, *_), label in zip(written, labels, strict=True)
    }


@settings(deadline=None, max_examples=60)
@given(written=st.lists(predictions(), max_size=8), given_later=st.lists(predictions(), max_size=4))
def test_a_table_gives_predictions_back_bit_for_bit(
    written: list[Prediction], given_later: list[Prediction]
) -> None:
    described = extended(Description(), PREDICTIONS, written)
    described = extended(described, PREDICTIONS, given_later)  # whose types may be others
    rows = [*written, *given_later]
    places = [Place(segment="s", number=number) for number in range(len(rows))]
    read = rows_of(PREDICTIONS, described, table_of(PREDICTIONS, described, rows, places))
    assert [exact(row) for row in read] == [exact(row) for row in rows]


@settings(deadline=None, max_examples=60)
@given(values=st.lists(values, max_size=8))
def test_a_table_gives_labels_back_bit_for_bit(values: list[Value]) -> None:
    rows = [label(f"{number}", value) for number, value in enumerate(values)]
    described = extended(Description(), LABELS, rows)
    places = [Place(segment="s", number=number) for number in range(len(rows))]
    read = rows_of(LABELS, described, table_of(LABELS, described, rows, places))
    assert [exact(row) for row in read] == [exact(row) for row in rows]
