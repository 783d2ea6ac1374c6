"""Disks that are full, fail or may not be written, and what the log says and keeps then."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gyroscope.errors import LogError, UnwritableError, UsageError
from gyroscope.prediction_log import FileLog, writer
from gyroscope.testing.prediction_log import label, prediction


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond ``size`` bytes, as on a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def ids(folder: Path) -> list[str]:
    log = FileLog(folder)
    assert log.damage() == ()
    found = [p.id for p in log.read().predictions]
    log.close()
    return found


def fail_to_sync(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(writer, "_sync", fail)


def test_an_append_that_does_not_fit_leaves_no_trace(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    log.append([prediction("before", hour=0)])
    big = [prediction(f"big {i}", row={"text": "x" * 100}) for i in range(100)]
    with files_limited_to(2000), pytest.raises(LogError, match="raise the limit on file sizes"):
        log.append(big)
    assert ids(tmp_path) == ["before"]
    log.append([prediction("after", hour=1)])
    log.append_labels([label("after", "yes")])
    assert ids(tmp_path) == ["before", "after"]
    assert log.read().labels == (None, label("after", "yes"))


def test_appends_that_go_on_failing_leave_no_files_behind(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    with files_limited_to(100):
        for _ in range(5):
            with pytest.raises(LogError, match="cannot be written"):
                log.append([prediction("a", row={"text": "x" * 1000})])
    assert list(tmp_path.iterdir()) == []


def test_an_append_cut_into_many_writes_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    log = FileLog(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda file, data: write(file, data[:7]))
        log.append([prediction("a"), prediction("b")])
    assert ids(tmp_path) == ["a", "b"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "No space left on device.*: free space on its disk"),
        (errno.EDQUOT, "raise the disk quota"),
        (errno.EROFS, "mount its file system for writing"),
        (errno.EIO, "see whether its disk is sound"),
    ],
)
def test_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, advice: str
) -> None:
    log = FileLog(tmp_path)
    with monkeypatch.context() as patched:
        fail_to_sync(patched, code)
        with pytest.raises(LogError, match=advice) as raised:
            log.append([prediction("a")])
    assert str(tmp_path) in str(raised.value)
    assert "Nothing of this append was acknowledged" in str(raised.value)


def test_what_could_not_be_synced_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, reader = FileLog(tmp_path), FileLog(tmp_path)
    log.append([prediction("before")])

    def fail(_: int) -> None:
        assert reader.known(["before", "a"]) == {"before", "a"}  # it is in the file already
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as patched:
        patched.setattr(writer, "_sync", fail)
        with pytest.raises(LogError):
            log.append([prediction("a")])
    assert reader.known(["before", "a"]) == {"before"}
    log.append([prediction("b")])
    assert [p.id for p in reader.read().predictions] == ["b", "before"]
    assert len(list(tmp_path.iterdir())) == 2  # the segment whose sync failed is not used again


def test_an_interrupted_append_does_not_spoil_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    log = FileLog(tmp_path)
    log.append([prediction("before", hour=0)])
    with monkeypatch.context() as patched:
        patched.setattr(writer, "_sync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            log.append([prediction("a")])
    log.append([prediction("after", hour=1)])
    assert ids(tmp_path) == ["before", "after"]


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")
    with pytest.raises(LogError, match="make it a folder"):
        FileLog(tmp_path / "log").append([prediction("a")])
    with pytest.raises(LogError, match="make it a folder"):
        FileLog(tmp_path / "log" / "below").append([prediction("a")])
    with pytest.raises(LogError, match="cannot be read"):
        FileLog(tmp_path / "log").read()


def test_the_folder_is_made_at_the_first_append(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    log = FileLog(folder)
    assert log.read().predictions == ()
    assert not folder.exists()
    log.append([prediction("a")])
    assert ids(folder) == ["a"]


def test_a_segment_deleted_under_its_writer_is_not_written_to(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    log.append([prediction("lost")])
    (segment,) = tmp_path.iterdir()
    segment.unlink()
    log.append([prediction("kept")])
    assert ids(tmp_path) == ["kept"]
    assert log.known(["lost", "kept"]) == {"kept"}


def test_segments_that_keep_vanishing_while_they_are_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FileLog(tmp_path)
    log.append([prediction("a")])
    assert log.known(["a"])
    (segment,) = tmp_path.iterdir()
    size = {segment.name: segment.stat().st_size}
    monkeypatch.setattr("gyroscope.prediction_log.catalog.segment_sizes", lambda _: size)
    segment.unlink()
    with pytest.raises(LogError, match="its files keep changing places"):
        log.read()


@pytest.mark.parametrize(
    ("prediction_", "reason"),
    [
        (prediction("bad", row={"text": "\ud800"}), "surrogates not allowed"),
        (prediction("bad", score="high"), "Expected `float | array`, got `str`"),  # type: ignore[arg-type]
        (prediction("bad", version=2**64), "can't serialize ints"),
        (prediction("bad", row={"object": object()}), "unsupported"),  # type: ignore[dict-item]
    ],
)
def test_a_value_that_could_not_be_read_again_is_refused(
    tmp_path: Path, prediction_: object, reason: str
) -> None:
    log = FileLog(tmp_path)
    with pytest.raises(LogError, match=f"prediction 'bad' cannot be logged: .*{reason}"):
        log.append([prediction("good"), prediction_])  # type: ignore[list-item]
    assert not list(tmp_path.iterdir())


def test_a_label_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="label of prediction 'b' cannot be logged"):
        FileLog(tmp_path).append_labels([label("a"), label("b", "\udfff")])


def test_settings_out_of_range_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="segment_bytes must be at least 1, got 0"):
        FileLog(tmp_path, segment_bytes=0)
    with pytest.raises(UsageError, match="writer must be 1 to 64 letters, digits and '_', got 'a/"):
        FileLog(tmp_path, writer="a/b")


def test_a_folder_whose_files_are_never_writable_is_refused_and_not_tried_for_ever(
    tmp_path: Path,
) -> None:
    before = os.umask(0o200)  # as on a file system that does not keep the permission
    try:
        with pytest.raises(UnwritableError, match=r"sealed or gone at once.*the right to write"):
            FileLog(tmp_path).append([prediction("a")])
    finally:
        os.umask(before)
    assert not list(tmp_path.iterdir())
