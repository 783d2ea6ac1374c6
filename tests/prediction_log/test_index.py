"""The index finds what a dictionary would, and reading decodes no more than it must."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.findings import Window
from gyroscope.prediction_log import FileLog, catalog, reader
from gyroscope.prediction_log.index import Column, KeyIndex
from gyroscope.prediction_log.moments import microseconds, moment
from gyroscope.prediction_log.segments import HEADER_BYTES
from gyroscope.testing.prediction_log import at, label, prediction

keys = st.integers(min_value=-20, max_value=20) | st.sampled_from([-(2**63), 2**63 - 1])


@given(batches=st.lists(st.lists(keys)), asked=st.lists(keys))
def test_the_key_index_agrees_with_a_dictionary(batches: list[list[int]], asked: list[int]) -> None:
    index = KeyIndex()
    model: dict[int, set[int]] = defaultdict(set)
    for row, key in enumerate(key for batch in batches for key in batch):
        model[key].add(row)
    for batch in batches:
        index.extend(np.array(batch, dtype=np.int64))
    positions, rows = index.matches(np.array(asked, dtype=np.int64))
    found = sorted(zip(positions.tolist(), rows.tolist(), strict=True))
    assert found == sorted((i, row) for i, key in enumerate(asked) for row in model[key])


def test_the_key_index_keeps_few_runs() -> None:
    index = KeyIndex()
    for key in range(3000):
        index.extend(np.array([key]))
    assert len(index._runs) <= np.log2(3000)


@given(st.lists(st.lists(st.integers(min_value=-(2**63), max_value=2**63 - 1), max_size=900)))
def test_a_column_holds_what_was_added(batches: list[list[int]]) -> None:
    column = Column()
    for batch in batches:
        column.extend(batch)
    assert column.values.tolist() == [value for batch in batches for value in batch]


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_are_exact(time: datetime) -> None:
    assert moment(microseconds(time)) == time


def count_bytes(monkeypatch: pytest.MonkeyPatch, module: ModuleType, function: str) -> list[int]:
    """The sizes of what ``module.function`` is given from now on."""
    original = getattr(module, function)
    sizes: list[int] = []

    def counted(data: bytes, *arguments: object) -> object:
        sizes.append(len(data))
        return original(data, *arguments)

    monkeypatch.setattr(module, function, counted)
    return sizes


def test_reading_a_window_decodes_only_its_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FileLog(tmp_path, segment_bytes=5000)
    for hour in range(200):
        log.append([prediction(f"{hour}-{n}", hour=hour) for n in range(4)])
        log.append_labels([label(f"{hour}-{n}", n, hour=hour + 50) for n in range(4)])
    predictions = count_bytes(monkeypatch, reader, "decode_predictions")
    labels = count_bytes(monkeypatch, reader, "decode_labels")
    read = log.read(Window(at(100), at(102)))
    assert [found and found.label for found in read.labels] == [0, 1, 2, 3] * 2
    assert len(predictions) == len(labels) == 2


def test_what_was_scanned_is_not_scanned_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FileLog(tmp_path)
    log.append([prediction(f"{n}") for n in range(1000)])
    scanned = count_bytes(monkeypatch, catalog, "scan")
    (segment,) = tmp_path.iterdir()
    size = segment.stat().st_size
    assert log.known(["7"])
    log.read()
    assert scanned == [size - HEADER_BYTES]
    log.append([prediction("new")])
    assert log.known(["new"])
    assert scanned == [size - HEADER_BYTES, segment.stat().st_size - size]


def test_a_process_that_only_appends_loads_no_numpy(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from gyroscope.prediction_log import FileLog; "
        "from gyroscope.testing.prediction_log import prediction; "
        f"FileLog(Path({str(tmp_path)!r})).append([prediction()]); "
        "sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_segments_sort_by_creation_and_name_their_writer(tmp_path: Path) -> None:
    log = FileLog(tmp_path, segment_bytes=1, writer="api_3")
    names: list[str] = []
    for number in range(20):
        log.append([prediction(f"{number}")])
        names += sorted({path.name for path in tmp_path.iterdir()} - set(names))
    assert names == sorted(names)
    assert all("-api_3-" in name for name in names)


def test_all_readers_agree_which_of_two_writers_was_first(tmp_path: Path) -> None:
    early, late, reader = FileLog(tmp_path), FileLog(tmp_path), FileLog(tmp_path)
    early.append([prediction("begins the older segment", hour=1)])
    late.append([prediction("twice", score=0.2)])
    assert [p.score for p in reader.read(Window(at(0), at(1))).predictions] == [0.2]
    early.append([prediction("twice", score=0.1)])  # arrived at the very same microsecond
    for log in (early, late, reader, FileLog(tmp_path)):
        assert [p.score for p in log.read(Window(at(0), at(1))).predictions] == [0.1]
