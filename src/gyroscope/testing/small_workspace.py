"""A workspace over a synthetic world, to fly through without a server and without processes.

space = small_workspace(folder)                       # gyroscope.yaml and empty stores
world = inline_world(space)                           # jobs run where they are submitted
version = register(world, tiny_bundle())
promote(world, MODEL, version, actor="test", reason="first")
serve(world, CALM.events(0, 20))                      # rows, scores and labels in the log
fly(world)                                            # until the pilot has nothing left to do
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from gyroscope.app import Workspace
from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.deployment import Deployment
from gyroscope.bundle.split import Split
from gyroscope.config import FILE
from gyroscope.data.training_set import TrainingSet, load_training_set, save_snapshot
from gyroscope.loop.executors import InlineExecutor
from gyroscope.loop.jobs import run_job
from gyroscope.loop.pilot import Pilot
from gyroscope.loop.training import BASE_SNAPSHOT
from gyroscope.loop.world import World
from gyroscope.store.base import Job
from gyroscope.testing.worlds import CALM, CONTRACT, Event, logged, to_table

MODEL = "churn"
SETTINGS: Mapping[str, Any] = {  # of the model: quick to train on 200 rows a day
    "candidates": ["base_rate", "logistic_regression"],
    "retrain_rows": 400,
    "label_lag": "1d",
    "probation": "5d",
    "recent_windows": [14],
}
_BASE_DAYS = 10  # of the calm world, that the user's own data are made of


def small_workspace(folder: Path, **settings: Any) -> Workspace:
    """A workspace in ``folder`` with one model, :data:`MODEL`, whose clock is that of the log.

    ``settings`` are those of the model, beside :data:`SETTINGS`. The training data are ten days of
    the calm world before its day 0, in a CSV file.
    """
    from pyarrow import csv

    folder.mkdir(parents=True, exist_ok=True)
    csv.write_csv(to_table(CALM.events(-_BASE_DAYS, 0)), folder / "churn.csv")
    columns = {
        column.name: {k: v for k, v in msgspec.to_builtins(column).items() if k != "name"}
        for column in CONTRACT.columns
    }
    document = {
        "workspace": {"clock": "log", "port": 0},
        "models": {
            MODEL: {
                "data": "churn.csv",
                "contract": {
                    "positive": list(CONTRACT.positive),
                    "negative": list(CONTRACT.negative),
                    "columns": columns,
                },
                "settings": {**SETTINGS, **settings},
            }
        },
    }
    (folder / FILE).write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return Workspace(folder)


def inline_world(space: Workspace, run: Callable[[World, Job], dict[str, Any]] = run_job) -> World:
    """The world of a workspace, its jobs run by ``run`` in this process when they are submitted."""
    world = msgspec.structs.replace(
        space.world, executor=InlineExecutor(lambda job: run(world, job))
    )
    return world


def register(world: World, bundle: Bundle, rows: TrainingSet | None = None) -> int:
    """Make a bundle the next version of its model, as if trained on ``rows``.

    Without rows it is the ten days of the calm world that are in the CSV file.
    """
    if rows is None:
        rows = load_training_set(to_table(CALM.events(-_BASE_DAYS, 0)), CONTRACT).rows
    tags = {
        BASE_SNAPSHOT: save_snapshot(rows, world.snapshots),
        "family": bundle.manifest.family,
        "trained_until": bundle.manifest.trained_until or "",
    }
    with world.tracker.run(bundle.manifest.model, "test") as run:
        return world.registry.register(bundle, run, tags).version


def serve(world: World, events: Sequence[Event], *, labels: bool = True) -> None:
    """Put events into the log as the servers of :data:`MODEL` would have, with their labels.

    The canary, if there is one, serves its share of the entities, the champion all others.
    """
    deployed = Deployment(world.config.state / "serving" / MODEL).read()
    assert deployed is not None  # promote a version first
    canary, champion = deployed.canary, deployed.champion.version
    if canary is None:
        return _serve(world, events, champion, labels)
    version = canary.deployed.version
    entities = world.bundle(MODEL, champion).encoder.entities([event.row for event in events])
    chosen = Split(MODEL, version, canary.percent).canary_serves(
        entity or event.id for entity, event in zip(entities, events, strict=True)
    )
    for by, who in ((False, champion), (True, version)):
        mine = [event for event, its in zip(events, chosen, strict=True) if its is by]
        _serve(world, mine, who, labels)
    return None


def _serve(world: World, events: Sequence[Event], version: int, labels: bool) -> None:
    predictions, known = logged(events, world.bundle(MODEL, version), version=version)
    log = world.log(MODEL)
    log.append(predictions)
    if labels:
        log.append_labels(known)


def fly(world: World, *, most_steps: int = 2000) -> int:
    """Give :data:`MODEL` its turns until there is nothing to do; returns the number of steps.

    Raises:
        RuntimeError: there is still something to do after ``most_steps``.
    """
    pilot = Pilot(world, MODEL)
    for step in range(most_steps):
        if not pilot.tick():
            return step
    raise RuntimeError(f"the pilot is still at work after {most_steps} steps")
