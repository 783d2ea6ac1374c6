"""The kinds of jobs, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gyroscope.errors import NotFoundError
from gyroscope.loop.training import Retraining, retrain
from gyroscope.loop.world import World
from gyroscope.store.base import Job

RETRAIN = "retrain"


def run_job(world: World, job: Job) -> dict[str, Any]:
    """Do the work of a job and return its result as JSON values.

    Raises:
        NotFoundError: no such kind of job.
        GyroscopeError: what the work itself raises.
    """
    if job.kind not in _KINDS:
        raise NotFoundError(f"no job of kind {job.kind!r}; known: {', '.join(_KINDS)}")
    result: dict[str, Any] = msgspec.to_builtins(_KINDS[job.kind](world, job))
    return result


def _retrain(world: World, job: Job) -> msgspec.Struct:
    order = msgspec.convert(job.arguments, Retraining)
    return retrain(world, job.model, order, _print_progress)


def _print_progress(step: str, detail: str) -> None:
    print(f"{step}: {detail}", flush=True)  # noqa: T201 (goes to the log of the job)


_KINDS: dict[str, Callable[[World, Job], msgspec.Struct]] = {RETRAIN: _retrain}
