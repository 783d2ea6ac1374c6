from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.training_set import (
    TrainingSet,
    concatenate,
    load_snapshot,
    load_training_set,
    save_snapshot,
)
from gyroscope.errors import DataError
from gyroscope.testing.worlds import CALM, CONTRACT, to_table

SMALL = Contract(
    columns=(
        Column(name="x", type=ColumnType.NUMBER, limits=(0, None)),
        Column(name="at", type=ColumnType.DATETIME, role=Role.TIME, nullable=True),
        Column(name="heft", type=ColumnType.NUMBER, role=Role.WEIGHT),
        Column(name="who", type=ColumnType.TEXT, role=Role.ID, missing=("-",)),
        Column(name="y", type=ColumnType.BOOLEAN, role=Role.TARGET),
    ),
    positive=("yes",),
    negative=("no",),
)
TIME = "2026-03-01T12:00"


def table_of(**columns: list[Any]) -> Any:
    n = len(next(iter(columns.values())))
    usual = {"x": ["1"], "at": [TIME], "heft": ["1"], "who": ["a"], "y": ["yes"]}
    return pa.table({name: columns.get(name, values * n) for name, values in usual.items()})


def test_rows_without_a_label_or_that_do_not_fit_are_left_out() -> None:
    table = table_of(x=["1", "-1", "2", "x", "3"], y=["yes", "no", None, "", "no"])
    loaded = load_training_set(table, SMALL)
    assert loaded.rows.X.tolist() == [[1], [3]]
    assert loaded.rows.y.tolist() == [1, 0]
    assert (loaded.unlabelled, loaded.unfit) == (2, 1)
    assert [(p.row, p.field, p.given) for p in loaded.problems] == [(1, "x", "'-1' and 1 more")]


def test_a_row_needs_a_time_and_a_positive_weight() -> None:
    table = table_of(
        at=[TIME, "", TIME, TIME, "soon"], heft=["2", "1", "0", "-1", "1"], x=["1"] * 5
    )
    loaded = load_training_set(table, SMALL)
    assert loaded.rows.weight.tolist() == [2]
    assert loaded.unfit == 4
    problems = {p.field: (p.row, p.given, p.expected) for p in loaded.problems}
    assert problems == {
        "heft": (2, "'0'", "a finite number above 0"),
        "at": (1, "''", "a time like 2026-01-31T12:00:00Z"),
    }


def test_a_table_of_which_nothing_is_left_says_why() -> None:
    message = (
        "none of the 2 rows can be trained on; the first misfit of each column: "
        "row 0, x: given '-1' and 1 more, expected a finite number, at least 0"
    )
    with pytest.raises(DataError, match=message):
        load_training_set(table_of(x=["-1", "-2"]), SMALL)
    with pytest.raises(DataError, match="none has a value in the target column"):
        load_training_set(table_of(y=[None, ""]), SMALL)


def test_rows_about_the_same_entity_are_a_group_and_nobody_is_none() -> None:
    table = table_of(who=["a", "b", "a", "-", "", None])
    assert load_training_set(table, SMALL).rows.group.tolist() == [0, 1, 0, -1, -1, -1]
    typed = table.set_column(3, "who", pa.chunked_array([[7, 8], [7, None, 8, 9]]))
    assert load_training_set(typed, SMALL).rows.group.tolist() == [0, 1, 0, -1, 1, 2]
    assert (load_training_set(table.drop("who"), SMALL).rows.group == -1).all()


def test_event_times_are_seconds_and_moments_have_a_zone() -> None:
    rows = load_training_set(table_of(at=["2026-03-01T12:00+02:00"]), SMALL).rows
    assert rows.timed
    moment = rows.moment(0)
    assert moment is not None
    assert moment.isoformat() == "2026-03-01T10:00:00+00:00"


def test_a_contract_without_times_gives_rows_without() -> None:
    columns = (SMALL.columns[0], SMALL.columns[4])
    contract = Contract(columns=columns, positive=("yes",), negative=("no",))
    rows = load_training_set(table_of(x=["1", "2"]), contract).rows
    assert not rows.timed
    assert rows.moment(0) is None
    assert rows.weight.tolist() == [1, 1]


# -- identity -------------------------------------------------------------------------------------


def world_rows() -> TrainingSet:
    return load_training_set(to_table(CALM.events(0, 2)), CONTRACT).rows


def test_the_digest_is_equal_exactly_when_the_rows_are() -> None:
    rows = world_rows()
    assert rows.digest == world_rows().digest
    everything = np.arange(len(rows))
    assert rows.take(everything).digest == rows.digest
    assert rows.take(everything[::-1]).digest != rows.digest
    assert rows.take(everything[:-1]).digest != rows.digest
    for name in ("X", "y", "weight", "time", "group"):
        other = rows.take(everything)
        getattr(other, name)[-1] += 1
        assert other.digest != rows.digest


def test_a_missing_value_has_one_digest_whatever_its_bits() -> None:
    odd = np.array([0xFFF8000000000001, 0x7FF8000000000000], np.uint64).view(np.float64)
    contract = Contract(
        columns=(
            Column(name="x", type=ColumnType.NUMBER, nullable=True),
            Column(name="y", type=ColumnType.BOOLEAN, role=Role.TARGET),
        ),
        positive=("true",),
        negative=("false",),
    )
    digests = {
        load_training_set(pa.table({"x": pa.array(x), "y": [True, False]}), contract).rows.digest
        for x in (odd, [None, None], ["", " "], [None, math.nan])
    }
    assert len(digests) == 1


def test_parts_are_joined_and_their_entities_stay_apart() -> None:
    rows = world_rows()
    half = len(rows) // 2
    first, second = rows.take(np.arange(half)), rows.take(np.arange(half, len(rows)))
    second.group[0] = -1
    joined = concatenate([first, second])
    np.testing.assert_array_equal(joined.X, rows.X)
    np.testing.assert_array_equal(joined.time, rows.time)
    assert joined.group[half] == -1
    known = joined.group[half + 1 :]
    assert not set(joined.group[:half].tolist()) & set(known.tolist())
    assert len(set(known - second.group[1:])) == 1  # the same groups under other numbers


# -- snapshots ------------------------------------------------------------------------------------


def test_a_snapshot_comes_back_as_it_was_kept(tmp_path: Path) -> None:
    rows = world_rows()
    digest = save_snapshot(rows, tmp_path / "deep" / "folder")
    assert digest == rows.digest
    assert load_snapshot(digest, tmp_path / "deep" / "folder").digest == digest
    [file] = (tmp_path / "deep" / "folder").iterdir()
    before = file.stat()
    assert save_snapshot(rows, tmp_path / "deep" / "folder") == digest
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def test_many_may_keep_the_same_rows_at_once(tmp_path: Path) -> None:
    rows = world_rows()
    with ThreadPoolExecutor(8) as threads:
        digests = set(threads.map(lambda _: save_snapshot(rows, tmp_path), range(16)))
    assert digests == {rows.digest}
    assert [file.name for file in tmp_path.iterdir()] == [f"{rows.digest}.safetensors"]
    load_snapshot(rows.digest, tmp_path)


def test_a_snapshot_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no snapshot .*abc\.safetensors; train on the data again"):
        load_snapshot("abc", tmp_path)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"\xff" * 100, b'{"X": 1}'])
def test_a_damaged_snapshot_is_an_error(content: bytes, tmp_path: Path) -> None:
    digest = save_snapshot(world_rows(), tmp_path)
    (tmp_path / f"{digest}.safetensors").write_bytes(content)
    with pytest.raises(DataError, match=r"is damaged: .*; train on the data again"):
        load_snapshot(digest, tmp_path)


def test_an_altered_snapshot_is_an_error(tmp_path: Path) -> None:
    rows = world_rows()
    digest = save_snapshot(rows, tmp_path)
    path = tmp_path / f"{digest}.safetensors"
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="was altered: its rows do not have its digest"):
        load_snapshot(digest, tmp_path)
