"""Appending to segments: durable when it returns, all or none, never in somebody else's file."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gyroscope.data.files import sync_path
from gyroscope.errors import UnwritableError, UsageError
from gyroscope.prediction_log import segments
from gyroscope.prediction_log.records import Encoded, encode_schema

SUFFIX = ".segment"

SEALED_MODE = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH  # nobody appends to such a segment

_WRITER_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")
_ADVICE = {
    errno.ENOSPC: "free space on its disk",
    errno.EDQUOT: "raise the disk quota or free space",
    errno.EFBIG: "raise the limit on file sizes, or lower segment_bytes",
    errno.EROFS: "mount its file system for writing",
    errno.EACCES: "give this user the right to write there",
    errno.EPERM: "give this user the right to write there",
    errno.ENOTDIR: "make it a folder",
    errno.EEXIST: "make it a folder",
}

_SEGMENTS_TRIED = 10  # by one append; a file system may not keep the permission to write
_LOOK_S = 0.005  # between two tries to seal a segment

_sync = getattr(os, "fdatasync", os.fsync)  # fdatasync is missing on macOS


class SegmentWriter:
    """Writes segments of one folder, each by one process alone; not safe for threads by itself.

    After any failure the segment is given up and the next append begins another, because a file
    whose last write or sync failed cannot be trusted to hold what is written to it later.
    """

    def __init__(self, folder: Path, *, fsync: bool, segment_bytes: int, name: str | None) -> None:
        if segment_bytes < 1:
            raise UsageError(f"segment_bytes must be at least 1, got {segment_bytes}")
        if name is not None and not _WRITER_NAME.fullmatch(name):
            raise UsageError(f"writer must be 1 to 64 letters, digits and '_', got {name!r}")
        self._folder = folder
        self._fsync = fsync
        self._segment_bytes = segment_bytes
        self._name = name
        self._segment: _Segment | None = None
        self._created_ns = 0

    def append(self, records: Sequence[Encoded]) -> None:
        """Write records, all or none.

        Raises:
            UnwritableError: says what to do; nothing was acknowledged and the next append may
                succeed.
        """
        try:
            for _ in range(_SEGMENTS_TRIED):
                segment = self._current()
                if segment.write(records):
                    return
                if segment.size == 0:
                    segment.undo()
                self.close()  # somebody has sealed or deleted it
            raise PermissionError(errno.EPERM, "each new segment is sealed or gone at once")
        except OSError as error:
            self._give_up()
            advice = _ADVICE.get(error.errno or 0, "see whether its disk is sound")
            raise UnwritableError(
                f"the prediction log in {self._folder} cannot be written "
                f"({error.strerror or error}): {advice}. "
                "Nothing of this append was acknowledged; the next one is tried afresh"
            ) from error

    def close(self) -> None:
        """Close the segment; another append would begin the next."""
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def _give_up(self) -> None:
        if self._segment is not None:
            self._segment.undo()
        with suppress(OSError):  # the failure that led here is the one to report
            self.close()

    def _current(self) -> _Segment:
        segment = self._segment
        if segment is not None and segment.pid != os.getpid():
            self.close()  # this process is a fork, and the file is its parent's
        elif segment is not None and not segment.is_whole:
            self._give_up()  # an append was interrupted
        elif segment is not None and segment.size >= self._segment_bytes:
            self.close()
        if self._segment is None:
            make_folder(self._folder)
            self._segment = _Segment(self._folder / self._new_name(), fsync=self._fsync)
        return self._segment

    def _new_name(self) -> str:
        # Names sort by creation, even when the clock is set back under a running writer.
        self._created_ns = max(time.time_ns(), self._created_ns + 1)
        writer = os.getpid() if self._name is None else self._name
        return f"{self._created_ns:020d}-{writer}-{secrets.token_hex(4)}{SUFFIX}"


class _Segment:
    """One file that this process appends to."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        self.pid = os.getpid()
        self.size = 0  # bytes of whole appends
        self.is_whole = True  # no append is half written
        self._path = path
        self._fsync = fsync
        self._marker = secrets.token_bytes(segments.MARKER_BYTES)
        self._uses: dict[tuple[str, ...], int] = {}  # records that refer to a schema
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o666)

    def write(self, records: Sequence[Encoded]) -> bool:
        """Append records, on disk when it returns if ``fsync``; raises OSError.

        Returns False, and writes nothing, if somebody has sealed or deleted the file.
        """
        with _locked(self._file):
            if not _takes_appends(self._file):
                return False
            data = self._framed(records)
            self.is_whole = False
            written = os.write(self._file, data)
            while written < len(data):  # a full disk takes a part first and says why the next time
                written += os.write(self._file, data[written:])
            if self._fsync:
                _sync(self._file)
                if self.size == 0:
                    sync_path(self._path.parent)
            self.size += len(data)
            self.is_whole = True
        return True

    def undo(self) -> None:
        """Take back what a failed append left in the file, as far as the disk allows.

        Where it does not, readers pass over the append if it is torn. One that is whole and could
        only not be synced may then show up in the log, which harms nobody: a client who tries
        again has the same id.
        """
        with suppress(OSError):
            os.ftruncate(self._file, self.size)
            if self.size == 0:
                self._path.unlink()

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _framed(self, records: Sequence[Encoded]) -> bytes:
        payloads = []
        for record in records:
            if record.columns is not None and self._needs_schema(record.columns):
                payloads.append(encode_schema(record.columns))
            payloads.append(record.payload)
        last = len(payloads) - 1
        frames = [
            segments.frame(payload, self._marker, ends_append=number == last)
            for number, payload in enumerate(payloads)
        ]
        opening = segments.header(self._marker) if self.size == 0 else b""
        return opening + b"".join(frames)

    def _needs_schema(self, columns: tuple[str, ...]) -> bool:
        # With the 1st, 2nd, 4th, 8th ... record: no damage to one copy may cost all rows the names.
        uses = self._uses[columns] = self._uses.get(columns, 0) + 1
        return uses & (uses - 1) == 0


@contextmanager
def _locked(file: int) -> Iterator[None]:
    """Nobody seals the segment within the block: see :func:`seal`."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _takes_appends(file: int) -> bool:
    state = os.fstat(file)
    return state.st_nlink > 0 and bool(state.st_mode & stat.S_IWUSR)


def seal(path: Path, *, wait_s: float = 10.0) -> bool:
    """See to it that a segment grows no more; whoever writes it begins another.

    A writer holds the kernel's lock on its segment only during an append, so this waits for one
    append at most and holds up the next for microseconds.

    Args:
        path: the segment.
        wait_s: how long to wait for an append under way, seconds.

    Returns:
        Whether it is sealed: not if an append took longer.

    Raises:
        OSError: the file is gone, or is another user's.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        deadline = time.monotonic() + wait_s
        while _takes_appends(file):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_LOOK_S)
            else:
                os.fchmod(file, SEALED_MODE)
        return True
    finally:
        os.close(file)


def make_folder(folder: Path) -> None:
    """Make a folder that survives a power failure, with those above it; raises OSError."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_path(path.parent)
