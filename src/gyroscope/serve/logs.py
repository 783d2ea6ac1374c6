"""The prediction logs of this server, one for each model."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gyroscope.model import Label, Prediction
from gyroscope.prediction_log import FileLog, GroupCommit
from gyroscope.prediction_log.group_commit import Then
from gyroscope.prediction_log.spool import SpooledLog, SpoolState, WhenFull

_PROBE = bytes(4096)  # a whole block: a full disk refuses it


class Spooling(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of records while the disk of the log takes nothing."""

    root: Path  # the folder that holds the spools of all models
    bytes: int = 64_000_000  # that it may hold, for each model
    when_full: WhenFull = "refuse"

    def folder(self, model: str) -> Path:
        """The spool of a model."""
        return self.root / model


class ModelLog:
    """The log of one model, for the tasks of the event loop."""

    def __init__(self, folder: Path, spool: Path | None, rules: Spooling | None) -> None:
        self._log: FileLog | SpooledLog
        if spool is None or rules is None:
            self._log = FileLog(folder)
        else:
            self._log = SpooledLog(
                folder, spool, spool_bytes=rules.bytes, when_full=rules.when_full
            )
        self._appends = GroupCommit(self._log)
        self._last_arrival = datetime.min.replace(tzinfo=UTC)

    async def append(self, predictions: Sequence[Prediction]) -> None:
        """Return when the predictions are durable; raises LogError."""
        await self._appends.append(predictions)

    def hand_in(self, predictions: Sequence[Prediction], then: Then) -> None:
        """The same for who does not wait, as :meth:`GroupCommit.hand_in` says."""
        self._appends.hand_in(predictions, then)

    async def append_labels(self, labels: Sequence[Label]) -> None:
        """Return when the labels are durable; raises LogError.

        None arrives before one that this server has had already, even if the clock was set back
        meanwhile: the last to arrive counts.
        """
        if not labels:
            return
        earliest = min(label.arrival for label in labels)
        if earliest < self._last_arrival:
            labels = [
                msgspec.structs.replace(label, arrival=max(label.arrival, self._last_arrival))
                for label in labels
            ]
        self._last_arrival = max(label.arrival for label in labels)
        await self._appends.append_labels(labels)

    def spool(self) -> SpoolState | None:
        """How it stands with the spool, if there is one; the disk is tried."""
        return self._log.state() if isinstance(self._log, SpooledLog) else None

    async def known(self, prediction_ids: Sequence[str]) -> set[str]:
        """Which of these ids predictions have, of any process; raises LogError."""
        return await asyncio.to_thread(self._log.known, prediction_ids)

    async def close(self) -> None:
        """Write what is under way and give back files."""
        await self._appends.close()
        self._log.close()


class ServerLogs:
    """Opens the log of a model at its first use."""

    def __init__(self, state: Path, spooling: Spooling | None = None) -> None:
        self._folder = state / "log"
        self._spooling = spooling
        self._open: dict[str, ModelLog] = {}
        self._lock = threading.Lock()  # health is asked for in threads

    def of(self, model: str) -> ModelLog:
        """The log of a model that this server has."""
        log = self._open.get(model)
        return self._opened(model) if log is None else log

    def _opened(self, model: str) -> ModelLog:
        with self._lock:
            log = self._open.get(model)
            if log is None:
                log = self._open[model] = ModelLog(
                    self._folder / model,
                    None if self._spooling is None else self._spooling.folder(model),
                    self._spooling,
                )
            return log

    async def close(self) -> None:
        """Close all logs."""
        for log in list(self._open.values()):
            await log.close()

    def health(self, model: str) -> tuple[list[str], list[str]]:
        """What keeps predictions of a model from being answered, and what is wrong although not."""
        spool = self.of(model).spool()
        problem = self._problem(model)
        if spool is None:
            return ([problem] if problem else []), []
        warnings = []
        if problem and not spool.is_full:
            warnings.append(
                f"{problem}; records go to the spool, which holds "
                f"{spool.spooled_bytes / 1e6:.1f} MB"
            )
        elif spool.spooled_bytes or spool.reason:
            warnings.append(f"the spool of model {model} is not yet carried home: {spool.reason}")
        if spool.unlogged:
            warnings.append(
                f"{spool.unlogged} records of model {model} were served and are on no record, "
                "since the spool was full"
            )
        refuses = self._spooling is not None and self._spooling.when_full == "refuse"
        if problem and spool.is_full and refuses:
            return [f"{problem}; the spool is full"], warnings
        return [], warnings

    def _problem(self, model: str) -> str:
        """Why the log of a model cannot be written, empty if it can: tried by flushing a block.

        The file for it has no name, so readers of the log do not meet it.
        """
        folder = self._folder / model
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(_PROBE)
                probe.flush()
                os.fsync(probe.fileno())
        except OSError as error:
            return f"the log of model {model} cannot be written: {error.strerror}"
        return ""
