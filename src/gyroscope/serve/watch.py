"""The background task that keeps looking for new champions, and what keeps a server from ready."""

from __future__ import annotations

import asyncio
import time

import msgspec

from gyroscope.serve.answers import Health, Readiness
from gyroscope.serve.champions import ModelTable
from gyroscope.serve.http import Answer
from gyroscope.serve.logs import ServerLogs

_GLANCE_S = 0.02  # between two glances at whether a deployment was written: microseconds each
_LOOK_S = 1.0  # between two looks at everything, also at what was refused


class Watch:
    """Refreshes the table of models from a thread, so that requests are answered meanwhile."""

    def __init__(self, models: ModelTable) -> None:
        self._models = models
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load what is deployed now, then go on watching."""
        await asyncio.to_thread(self._models.refresh)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop watching; a look that is under way is finished."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def alive(self) -> bool:
        """Whether new champions are still being looked for."""
        return self._task is not None and not self._task.done()

    async def _run(self) -> None:
        while True:
            written = self._models.written()
            await asyncio.to_thread(self._models.refresh)
            due = time.monotonic() + _LOOK_S
            while time.monotonic() < due and self._models.written() == written:
                await asyncio.sleep(_GLANCE_S)


async def health(path: str, models: ModelTable, logs: ServerLogs, watch: Watch) -> Answer:
    """The answer of ``/healthz`` or ``/readyz``."""
    if path == "/healthz":
        return Answer(status=200, body=msgspec.json.encode(Health(status="ok")))
    state = await asyncio.to_thread(readiness, models, logs, watch)
    return Answer(status=200 if state.ready else 503, body=msgspec.json.encode(state))


def readiness(models: ModelTable, logs: ServerLogs, watch: Watch) -> Readiness:
    """Whether every model can predict and have its predictions recorded. Writes to the disk."""
    problems = (
        [] if watch.alive else ["the watch for new champions has stopped: restart the server"]
    )
    warnings = []
    names = [model.name for model in models]
    if not names:
        problems.append("no model is deployed yet: train one with gyro train")
    for model in models:
        if model.champion is None:
            problems.append(f"model {model.name} has no champion: {model.refused or 'none yet'}")
        elif model.refused:
            warnings.append(
                f"model {model.name}: version {model.champion.version} goes on serving, "
                f"a newer one was refused: {model.refused}"
            )
        if model.canary_refused:
            warnings.append(f"model {model.name}: no canary serves: {model.canary_refused}")
    for name in names:
        log_problems, log_warnings = logs.health(name)
        problems += log_problems
        warnings += log_warnings
    return Readiness(ready=not problems, problems=tuple(problems), warnings=tuple(warnings))
