"""The prediction logs of this server, one for each model."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from gyroscope.model import Label, Prediction
from gyroscope.prediction_log import FileLog, GroupCommit

_PROBE = bytes(4096)  # a whole block: a full disk refuses it


class ModelLog:
    """The log of one model, for the tasks of the event loop."""

    def __init__(self, folder: Path) -> None:
        self._log = FileLog(folder)
        self._appends = GroupCommit(self._log)

    async def append(self, predictions: Sequence[Prediction]) -> None:
        """Return when the predictions are durable; raises LogError."""
        await self._appends.append(predictions)

    async def append_labels(self, labels: Sequence[Label]) -> None:
        """Return when the labels are durable; raises LogError."""
        await self._appends.append_labels(labels)

    async def known(self, prediction_ids: Sequence[str]) -> set[str]:
        """Which of these ids predictions have, of any process; raises LogError."""
        return await asyncio.to_thread(self._log.known, prediction_ids)

    async def close(self) -> None:
        """Write what is under way and give back files."""
        await self._appends.close()
        self._log.close()


class ServerLogs:
    """Opens the log of a model at its first use."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "log"
        self._open: dict[str, ModelLog] = {}

    def of(self, model: str) -> ModelLog:
        """The log of a model that this server has."""
        log = self._open.get(model)
        if log is None:
            log = self._open[model] = ModelLog(self._folder / model)
        return log

    async def close(self) -> None:
        """Close all logs."""
        for log in self._open.values():
            await log.close()

    def problem(self, model: str) -> str:
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
