"""After an erasure no byte about the subject is left, and all else is as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gyroscope.errors import LogError
from gyroscope.model import Value
from gyroscope.prediction_log import FileLog
from gyroscope.prediction_log.compaction import compact
from gyroscope.prediction_log.erasure import complete_erasure, erasures, order_erasure
from gyroscope.testing.prediction_log import label, prediction

CRASHER = Path(__file__).with_name("crasher.py")
SECRETS = ("customer Ada", "ada-", "Ada's street", "1815.1210", "Ada's outcome")


def fill(folder: Path, *, first: int = 0) -> FileLog:
    """Two subjects in turn, with labels, in several segments of two days."""
    log = FileLog(folder, fsync=False, segment_bytes=800)
    for number in range(first, first + 4):
        hour = 12 * (number % 4)
        ada: dict[str, Value] = {"street": "Ada's street", "born": 1815.1210}
        bob: dict[str, Value] = {"street": "Bob's street", "born": 1900.5}
        log.append([prediction(f"ada-{number}", hour=hour, entity="customer Ada", row=ada)])
        log.append([prediction(f"bob-{number}", hour=hour, entity="customer Bob", row=bob)])
        log.append_labels([label(f"ada-{number}", "Ada's outcome"), label(f"bob-{number}", "yes")])
    return log


def found(folder: Path) -> set[str]:
    """Which of the secrets stand in any file or file name."""
    content = b""
    for path in folder.rglob("*"):
        content += path.name.encode() + (path.read_bytes() if path.is_file() else b"")
    return {secret for secret in SECRETS if secret.encode() in content}


def erase(folder: Path, subject: str) -> tuple[int, int]:
    order_erasure(folder, subject)
    done = complete_erasure(folder)
    assert done is not None
    return done.predictions, done.labels


def test_no_byte_of_the_subject_is_left_in_segments_or_files(tmp_path: Path) -> None:
    fill(tmp_path).close()
    compact(tmp_path)
    log = fill(tmp_path, first=4)
    assert found(tmp_path) == set(SECRETS) - {"1815.1210"}
    others = [p for p in log.read().predictions if p.entity == "customer Bob"]
    assert erase(tmp_path, "customer Ada") == (8, 8)
    assert found(tmp_path) == set()
    read = log.read()
    assert list(read.predictions) == others
    assert all(x is not None and x.label == "yes" for x in read.labels)
    log.append([prediction("new")])
    assert log.known(["ada-0", "bob-0", "new"]) == {"bob-0", "new"}


def test_one_prediction_goes_with_its_labels_and_no_other(tmp_path: Path) -> None:
    log = fill(tmp_path)
    assert erase(tmp_path, "ada-1") == (1, 1)
    assert log.known(["ada-0", "ada-1", "ada-2"]) == {"ada-0", "ada-2"}
    assert log.arrivals("ada-1") == ()


def test_a_subject_of_whom_nothing_is_known_is_erased_as_well(tmp_path: Path) -> None:
    assert erase(tmp_path, "nobody") == (0, 0)
    fill(tmp_path).close()
    assert erase(tmp_path, "nobody") == (0, 0)
    assert len(erasures(tmp_path)) == 2


def test_what_can_be_read_of_a_damaged_segment_is_kept_and_the_segment_goes(tmp_path: Path) -> None:
    fill(tmp_path).close()
    first = min(tmp_path.iterdir())
    data = bytearray(first.read_bytes())
    data[data.index(b"Ada's street")] ^= 1
    first.write_bytes(data)
    assert erase(tmp_path, "customer Ada") == (3, 3)
    assert found(tmp_path) == {"ada-", "Ada's outcome"}  # a label that is nobody's any more
    assert not first.exists()
    assert len(FileLog(tmp_path).read().predictions) == 4


def test_one_erasure_is_completed_before_the_next_is_ordered(tmp_path: Path) -> None:
    fill(tmp_path).close()
    order_erasure(tmp_path, "customer Ada")
    order_erasure(tmp_path, "customer Ada")
    with pytest.raises(LogError, match=r"another erasure .* complete it with gyro log compact"):
        order_erasure(tmp_path, "customer Bob")
    assert complete_erasure(tmp_path) is not None
    assert complete_erasure(tmp_path) is None


@pytest.mark.slow
def test_an_erasure_killed_at_any_step_is_completed_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power fails here
    folder = tmp_path / "log"
    fill(folder).close()
    compact(folder)
    fill(folder, first=4).close()
    others = [p for p in FileLog(folder).read().predictions if p.entity == "customer Bob"]
    command = [sys.executable, str(CRASHER), str(folder), "erase", "customer Ada"]
    steps = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    ordered = []
    for step in range(steps):
        copy = Path(f"{folder}-{step}")
        seen = FileLog(copy).read().predictions
        assert [p for p in seen if p.entity == "customer Bob"] == others, step
        ordered.append((copy / "erasing.json").exists() or bool(erasures(copy)))
        complete_erasure(copy)
        assert bool(erasures(copy)) == ordered[-1]
        assert list(FileLog(copy).read().predictions) == (others if ordered[-1] else list(seen))
        assert (found(copy) == set()) == ordered[-1], step
    assert ordered == sorted(ordered), "an order stands from the moment that it is on the disk"
    assert 0 < ordered.count(False) < 5 < ordered.count(True)
