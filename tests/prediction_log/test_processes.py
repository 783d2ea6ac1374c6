"""Processes that are killed, that append at once, that fork."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from gyroscope.prediction_log import FileLog
from gyroscope.testing.prediction_log import prediction

APPENDER = Path(__file__).with_name("appender.py")


def appender(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(APPENDER), str(folder), *arguments], stdout=subprocess.PIPE, text=True
    )


def killed_after(lines: int, process: subprocess.Popen[str]) -> list[str]:
    """Kill the appender once it has acknowledged so many ids; all it acknowledged until then."""
    assert process.stdout is not None
    with process:
        acknowledged = list(islice(process.stdout, lines))
        process.kill()
        acknowledged += process.stdout
    # The last line may have been cut in the middle by the kill; its id was acknowledged no less,
    # but cannot be told from it.
    return [line.strip() for line in acknowledged if line.endswith("\n")]


@pytest.mark.parametrize("options", [["1", "fsync"], ["1"], ["40"]])
def test_nothing_acknowledged_is_lost_by_kill_9(tmp_path: Path, options: list[str]) -> None:
    rng = random.Random(" ".join(options))
    acknowledged: set[str] = set()
    for attempt in range(4):
        process = appender(tmp_path, f"{attempt}", "1000000", *options)
        acknowledged |= set(killed_after(rng.randrange(1, 400), process))
        log = FileLog(tmp_path)
        read = {p.id: p.row for p in log.read().predictions}
        assert acknowledged <= read.keys()
        assert all(row == (name * 9,) for name, row in read.items() if name != "after")
        assert log.damage() == ()
        log.append([prediction("after")])
        assert "after" in log.known(["after"])
        log.close()


def test_several_processes_append_while_one_reads(tmp_path: Path) -> None:
    processes = [appender(tmp_path, f"{n}", "150", "3") for n in range(3)]
    log = FileLog(tmp_path)
    seen: set[str] = set()
    while any(process.poll() is None for process in processes):
        now = {p.id for p in log.read().predictions}
        assert seen <= now
        seen = now
    for process in processes:
        assert process.communicate()[0].count("\n") == 150 * 3
    read = log.read()
    assert {p.id for p in read.predictions} == {
        f"{n}-{append}-{row}" for n in range(3) for append in range(150) for row in range(3)
    }
    for p, found in zip(read.predictions, read.labels, strict=True):
        is_labelled = int(p.id.split("-")[1]) % 5 == 0
        assert (found and found.label) == (p.id if is_labelled else None)
    assert log.damage() == ()


def test_a_fork_writes_segments_of_its_own(tmp_path: Path) -> None:
    with appender(tmp_path, "after", "20", "1", "fork") as process:
        process.communicate()
    log = FileLog(tmp_path)
    assert len(log.read().predictions) == 60
    assert log.damage() == ()
    assert len(list(tmp_path.iterdir())) == 2
