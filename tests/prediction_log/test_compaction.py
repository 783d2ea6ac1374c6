"""Segments become Parquet files of a day each, and nobody who reads the log can tell."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gyroscope.errors import LogError
from gyroscope.findings import Window
from gyroscope.model import Value
from gyroscope.prediction_log import FileLog, Joined
from gyroscope.prediction_log.compaction import Compacted, compact, expire
from gyroscope.prediction_log.segments import HEADER_BYTES
from gyroscope.testing.prediction_log import at, label, prediction

CRASHER = Path(__file__).with_name("crasher.py")


def filled(folder: Path, prefix: str = "", *, days: int = 3) -> FileLog:
    """A log with predictions of several days, a retry, and labels with a correction."""
    log = FileLog(folder, fsync=False, segment_bytes=1500)
    for number in range(4 * days):
        name = f"{prefix}{number}"
        row: dict[str, Value] = {"age": number, "city": "Lund" * (number % 3)}
        log.append([prediction(name, hour=6 * number, entity=f"customer {number}", row=row)])
        log.append_labels([label(name, number % 2, hour=6 * number + 30)])
    log.append([prediction(f"{prefix}1", hour=6, arrival_hour=7, score=0.9)])  # a retry
    log.append_labels([label(f"{prefix}2", "corrected", hour=99)])
    return log


def read(folder: Path) -> tuple[Joined, list[int]]:
    log = FileLog(folder)
    found = log.read(), log.times().tolist()
    log.close()
    return found


def kinds(folder: Path) -> set[str]:
    return {path.suffix for path in folder.rglob("*") if path.is_file()}


def test_the_log_reads_the_same_before_and_after(tmp_path: Path) -> None:
    log = filled(tmp_path / "churn")
    before = read(tmp_path / "churn")
    window = log.read(Window(at(20), at(50)))
    done = compact(tmp_path / "churn")
    assert done == Compacted(segments=done.segments, rows=26, files=7)
    assert kinds(tmp_path / "churn") == {".parquet"}
    assert read(tmp_path / "churn") == before
    assert log.read(Window(at(20), at(50))) == window
    assert [x.label for x in log.arrivals("2")] == [0, "corrected"]
    assert compact(tmp_path / "churn") == Compacted()


def test_files_lie_by_model_and_day_and_hold_zstd(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    filled(tmp_path / "churn").close()
    compact(tmp_path / "churn")
    found = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.parquet"))
    assert (
        found[4:]
        == [
            f"churn/predictions/model=churn/day=2026-03-0{day}/part-00000.parquet"
            for day in (1, 2, 3)
        ]
        + ["churn/labels/x"][1:]
    )
    column = pq.ParquetFile(tmp_path / found[-1]).metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"


def test_later_rows_of_a_day_join_its_file_until_it_is_full(tmp_path: Path) -> None:
    expected = []
    for number in range(6):
        log = FileLog(tmp_path)
        log.append([prediction(f"{number}", hour=number, row={"x": number, "y": f"{number}"})])
        log.close()
        compact(tmp_path, part_bytes=4500)
        expected.append(f"{number}")
        assert [p.id for p in read(tmp_path)[0].predictions] == expected
    assert len(list(tmp_path.rglob("*.parquet"))) == 2


def test_a_writer_whose_segment_is_sealed_goes_on_in_another(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    for number in range(3):
        log.append([prediction(f"{number}", hour=number)])
        compact(tmp_path)
        log.append_labels([label(f"{number}", number)])
    assert [x and x.label for x in log.read().labels] == [0, 1, 2]


def test_a_damaged_segment_stays_for_whoever_can_repair_it(tmp_path: Path) -> None:
    filled(tmp_path).close()
    first = min(tmp_path.iterdir())
    data = bytearray(first.read_bytes())
    data[HEADER_BYTES + 30] ^= 1
    first.write_bytes(data)
    before = read(tmp_path)
    assert compact(tmp_path).left == 1
    assert [path for path in tmp_path.iterdir() if path.is_file()] == [first]
    assert read(tmp_path) == before
    assert len(FileLog(tmp_path).damage()) == 1


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    filled(tmp_path).close()
    compact(tmp_path)
    path = min(tmp_path.rglob("*.parquet"))
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogError, match=f"{path.name} cannot be read .*from a backup"):
        FileLog(tmp_path).read()
    path.write_bytes(b"")
    with pytest.raises(LogError, match=f"{path.name} cannot be read .*from a backup"):
        FileLog(tmp_path).read()


def test_old_days_expire_whole(tmp_path: Path) -> None:
    filled(tmp_path).close()
    compact(tmp_path)
    assert expire(tmp_path, at(24)).expired_files == 1
    assert [p.id for p in read(tmp_path)[0].predictions] == [f"{n}" for n in range(4, 12)]
    assert expire(tmp_path, at(48)).expired_files == 2  # and the labels of the first two days
    assert expire(tmp_path, at(49)).expired_files == 0
    assert not list(tmp_path.rglob("*2026-03-01*"))


def test_readers_see_the_whole_at_any_moment(tmp_path: Path) -> None:
    log, reader = filled(tmp_path), FileLog(tmp_path)
    expected = reader.read()
    stop, looked = threading.Event(), threading.Event()

    def look() -> list[int]:
        """Until told to stop; how many predictions there were each time that all was not seen."""
        seen, wrong = FileLog(tmp_path), []
        while not stop.is_set():
            found = seen.read(Window(at(0), at(99)))
            if found != expected or len(seen.times(Window(at(0), at(99)))) != 13:
                wrong.append(len(found.predictions))
            looked.set()
        return wrong

    with ThreadPoolExecutor(1) as thread:
        looking = thread.submit(look)
        try:
            for number in range(12):
                log.append([prediction(f"later {number}", hour=100 + number)])
                log.append_labels([label(f"later {number}", 1, hour=20)])
                looked.clear()
                compact(tmp_path, part_bytes=3000)
                assert looked.wait(60) or looking.done(), "the reader looks after each compaction"
        finally:
            stop.set()
        assert looking.result() == []


@pytest.mark.slow
def test_kill_9_at_any_step_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power fails here
    folder = tmp_path / "log"
    filled(folder, "early ").close()
    compact(folder)
    filled(folder, "late ", days=2).close()
    expected = read(folder)
    command = [sys.executable, str(CRASHER), str(folder), "compact"]
    steps = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert steps > 30
    for step in range(steps):
        copy = Path(f"{folder}-{step}")
        assert read(copy) == expected, step
        log = FileLog(copy, segment_bytes=1500)
        log.append([prediction("after", hour=200)])
        log.close()
        compact(copy)
        log = FileLog(copy)
        assert log.known(["after"])
        assert log.read(Window(at(0), at(199))) == expected[0], step
        assert log.times(Window(at(0), at(199))).tolist() == expected[1], step
        assert kinds(copy) == {".parquet"}
