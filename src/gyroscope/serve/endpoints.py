"""The two routes that write: predictions and labels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from gyroscope.model import Label
from gyroscope.serve.answers import LabelsAccepted
from gyroscope.serve.champions import ModelTable
from gyroscope.serve.http import Limits
from gyroscope.serve.logs import ServerLogs
from gyroscope.serve.requests import label_request, predict_request
from gyroscope.serve.scoring import contributions_wanted, score

# What is done at once on the event loop takes at most about a millisecond; the rest goes to a
# thread, so that other requests are answered meanwhile.
_BYTES_AT_ONCE = 100_000
_ROWS_AT_ONCE = 200
_EXPLAINED_ROWS_AT_ONCE = 8
_THREADS = 2  # they compete with the event loop for the interpreter, so few

_T = TypeVar("_T")


class Endpoints:
    """Answers predictions and labels from their bodies."""

    def __init__(self, models: ModelTable, logs: ServerLogs, limits: Limits) -> None:
        self._models, self._logs, self._limits = models, logs, limits
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="scoring")

    def close(self) -> None:
        """Give back the threads."""
        self._threads.shutdown()

    async def predict(self, model: str, body: bytes) -> bytes:
        """Score rows, put them on record, and only then answer."""
        arrival = datetime.now(UTC)
        serving = self._models[model].answering()
        champion = serving.champion
        large = len(body) > _BYTES_AT_ONCE
        request = await self._run(large, lambda: predict_request(body, self._limits.rows))
        k = contributions_wanted(champion, request)
        slow = k > 0 or not champion.bundle.explains
        many = len(request.rows) > (_EXPLAINED_ROWS_AT_ONCE if slow else _ROWS_AT_ONCE)
        scored = await self._run(large or many, lambda: score(serving, request, k, arrival))
        await self._logs.of(model).append(scored.predictions)
        return scored.answer

    async def label(self, model: str, body: bytes) -> bytes:
        """Put labels on record; those for ids that no prediction has are named and not kept."""
        arrival = datetime.now(UTC)
        large = len(body) > _BYTES_AT_ONCE
        class_of = self._models[model].current().bundle.encoder.label
        given = await self._run(large, lambda: label_request(body, self._limits.rows, class_of))
        log = self._logs.of(model)
        ids = list(dict.fromkeys(label.prediction_id for label in given))
        known = await log.known(ids)
        labels = [
            Label(
                prediction_id=label.prediction_id,
                label=label.label,
                time=label.time or arrival,
                arrival=arrival,
            )
            for label in given
            if label.prediction_id in known
        ]
        if labels:
            await log.append_labels(labels)
        unknown = tuple(prediction_id for prediction_id in ids if prediction_id not in known)
        return msgspec.json.encode(LabelsAccepted(accepted=len(labels), unknown=unknown))

    async def _run(self, in_thread: bool, work: Callable[[], _T]) -> _T:
        if not in_thread:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
