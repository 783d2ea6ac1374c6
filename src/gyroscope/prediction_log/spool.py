"""When the disk of a log takes nothing, records wait in a spool elsewhere, and go home later.

The spool is a log of its own, of segments with the same names and bytes as they will have at home:
they are carried over whole, each by one rename, so that none is lost or doubled however often that
is cut short.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from gyroscope.data.files import sync_path
from gyroscope.errors import UnwritableError
from gyroscope.model import Label, Prediction
from gyroscope.prediction_log.base import Appends
from gyroscope.prediction_log.catalog import segment_sizes
from gyroscope.prediction_log.file_log import FileLog
from gyroscope.prediction_log.writer import SEALED_MODE, make_folder

WhenFull = Literal["refuse", "serve"]

PARTIAL = ".partial"  # ends the names of files that are being written

_TRY_S = 1.0  # between two tries to carry the spool home
_SEGMENT_BYTES = 4 * 2**20

_logger = logging.getLogger(__name__)


class SpoolState(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with a log and its spool."""

    reason: str = ""  # why the log cannot be written; empty if it can
    spooled_bytes: int = 0  # waiting in the spool
    is_full: bool = False
    unlogged: int = 0  # records that were served and are on no record, since the start


class SpooledLog:
    """Appends to a log, or to its spool while the log cannot be written.

    Args:
        folder: of the log.
        spool: folder of the spool, best on another disk.
        spool_bytes: the spool is full when it holds so many, at least 1.
        when_full: whether appends then fail, or are counted and forgotten.
    """

    def __init__(self, folder: Path, spool: Path, *, spool_bytes: int, when_full: WhenFull) -> None:
        self._folder, self._spool_folder = folder, spool
        self._log = FileLog(folder)
        self._spool = FileLog(spool, segment_bytes=_SEGMENT_BYTES)
        self._spool_bytes, self._when_full = spool_bytes, when_full
        self._lock = threading.Lock()
        self._is_spooling = True  # there may be what the server before has left
        self._is_home_tried = True  # by appends: the spool is empty, or cannot be looked into
        self._try_at = 0.0  # in the clock of time.monotonic
        self._state = SpoolState()

    def append(self, predictions: Sequence[Prediction]) -> None:
        """See :meth:`PredictionLog.append`; raises UnwritableError once the spool is full, too."""
        self._append(lambda log: log.append(predictions), len(predictions))

    def append_labels(self, labels: Sequence[Label]) -> None:
        """See :meth:`PredictionLog.append_labels`; raises like :meth:`append`."""
        self._append(lambda log: log.append_labels(labels), len(labels))

    def known(self, prediction_ids: Sequence[str]) -> set[str]:
        """See :meth:`PredictionLog.known`; in the spool counts, too."""
        # The spool first: what is carried home meanwhile is there before it is gone from here.
        waiting = self._spool.known(prediction_ids) if self._is_spooling else set()
        return waiting | self._log.known(prediction_ids)

    def state(self) -> SpoolState:
        """How it stands; carries the spool home if the log can be written again."""
        with self._lock:
            if self._is_spooling:
                self._carry_home()
            with suppress(OSError):  # the state has the reason
                spooled = sum(segment_sizes(self._spool_folder).values())
                return msgspec.structs.replace(self._state, spooled_bytes=spooled)
            return self._state

    def close(self) -> None:
        """Give back files; what is in the spool stays there for the next one to carry home."""
        self._log.close()
        self._spool.close()

    def _append(self, append: Callable[[Appends], None], rows: int) -> None:
        with self._lock:
            if not self._is_spooling or self._carry_home():
                try:
                    append(self._log)
                except UnwritableError as error:
                    self._give_way(error)
                else:
                    return
            self._append_to_spool(append, rows)

    def _append_to_spool(self, append: Callable[[Appends], None], rows: int) -> None:
        try:
            is_full = sum(segment_sizes(self._spool_folder).values()) >= self._spool_bytes
            if not is_full:
                make_private(self._spool_folder.parent)
                append(self._spool)
        except (UnwritableError, OSError):
            is_full = True
        self._state = msgspec.structs.replace(self._state, is_full=is_full)
        if is_full and self._when_full == "refuse":
            raise UnwritableError(
                f"{self._state.reason}. The spool in {self._spool_folder} takes no more either, "
                "so nothing was acknowledged"
            )
        if is_full:
            self._state = msgspec.structs.replace(self._state, unlogged=self._state.unlogged + rows)

    def _give_way(self, error: UnwritableError) -> None:
        self._is_spooling, self._is_home_tried = True, False
        self._try_at = time.monotonic() + _TRY_S
        self._state = msgspec.structs.replace(self._state, reason=str(error))
        _logger.warning("%s. Records go to the spool in %s", error, self._spool_folder)

    def _carry_home(self) -> bool:
        """Carry the spool home; whether appends are to try the log itself."""
        if time.monotonic() >= self._try_at:
            self._try_at = time.monotonic() + _TRY_S
            self._is_home_tried = self._carried()
        return self._is_home_tried

    def _carried(self) -> bool:
        try:
            is_empty = not segment_sizes(self._spool_folder)
        except OSError as error:
            # What waits there cannot be told. The log may take records all the same.
            self._explain(f"the spool in {self._spool_folder} cannot be read: {error}")
            return True
        try:
            carry_home(self._spool_folder, self._folder)
        except OSError as error:
            self._explain(self._state.reason or f"the spool cannot be carried home: {error}")
            return False
        self._is_spooling = False
        self._state = SpoolState(unlogged=self._state.unlogged)
        if not is_empty:
            _logger.info("the prediction log in %s can be written again", self._folder)
        return True

    def _explain(self, reason: str) -> None:
        """Keep why records wait, and warn if that is new."""
        if reason != self._state.reason:
            self._state = msgspec.structs.replace(self._state, reason=reason)
            _logger.warning("%s", reason)


def carry_home(spool: Path, folder: Path) -> None:
    """Move all segments of a spool into the folder of their log.

    Any number of processes may do that at once, and append to the spool meanwhile. Raises OSError;
    what was moved until then counts.
    """
    for name in sorted(segment_sizes(spool)):
        with (spool / name).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:
                _move(file.fileno(), spool / name, folder / name)


def _move(source: int, path: Path, target: Path) -> None:
    """Move a sealed copy of a segment that this process has the lock on."""
    os.fchmod(source, SEALED_MODE)  # seals it: its writer holds the same lock for an append
    make_folder(target.parent)
    partial = target.with_name(f".{target.name}{PARTIAL}")
    try:
        shutil.copyfile(path, partial)
        with partial.open("rb") as copy:
            os.fsync(copy.fileno())
        partial.replace(target)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    sync_path(target.parent)
    path.unlink()


def make_private(folder: Path) -> None:
    """Make the folder of a spool for this user alone; anybody may write beside it.

    Raises:
        UnwritableError: it cannot be made, or others could read or change what is in it.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UnwritableError(f"the spool in {folder} cannot be made: {error}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise UnwritableError(f"the spool in {folder} is open to other users: remove it")
