"""Lives a part of a pilot's life in processes that die; started by ``test_deaths.py``.

``python mortal.py FOLDER SCENARIO`` prepares a workspace and then does the same from it again and
again: the first process dies before its first change to store, registry, deployment or jobs, the
next one before its second, and so on until one lives to the end. After each death another process
flies on. One line of JSON for each life says what the world looks like in the end; the last was a
life without death. With a third argument ``again`` there is one more line, of a workspace on which
one process after another has died, each one change later than the one before.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gyroscope.app import Workspace
from gyroscope.bundle.deployment import Deployment
from gyroscope.loop.manual import end_canary, pause, promote, retrain, roll_back, start_canary
from gyroscope.loop.training import Retraining
from gyroscope.loop.training import retrain as train_challenger
from gyroscope.loop.world import World
from gyroscope.store.base import Job
from gyroscope.testing.small_workspace import (
    MODEL,
    fly,
    inline_world,
    register,
    serve,
    small_workspace,
)
from gyroscope.testing.worlds import (
    CALM,
    CHANGE_DAY,
    CONCEPT_DRIFT,
    DAY_0,
    Event,
    day,
    tiny_bundle,
)

DEATH = 9  # exit code of a process that was made to die
CHANGES = {  # calls that change the world; it is the same before as after any other
    "store": ("record", "advance", "save_care", "add_findings", "save_job", "add_quarantine"),
    "registry": ("set_alias", "remove_alias", "set_tag"),
    "publisher": ("publish",),
    "executor": ("submit", "cancel"),
}
RESULT = "challenger.json"  # what every retraining of the workspace brings


class Life:
    """Ends the process before a change of the world."""

    def __init__(self, changes: int | None) -> None:
        self._left = changes  # until death; None for a life without end

    def spend(self) -> None:
        if self._left == 0:
            os._exit(DEATH)
        if self._left is not None:
            self._left -= 1


class Mortal:
    """Passes everything on to ``target``; calls that change the world cost life."""

    def __init__(self, target: Any, changes: Sequence[str], life: Life) -> None:
        self._target, self._changes, self._life = target, changes, life

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._target, name)
        if name not in self._changes:
            return attribute

        def change(*arguments: Any, **options: Any) -> Any:
            self._life.spend()
            return attribute(*arguments, **options)

        return change


def world_of(folder: Path, life: Life) -> World:
    world = inline_world(Workspace(folder), lambda world, job: canned(folder, job))
    parts = {name: Mortal(getattr(world, name), calls, life) for name, calls in CHANGES.items()}
    return msgspec.structs.replace(world, **parts)


def canned(folder: Path, job: Job) -> dict[str, Any]:
    """The result of a job: training itself is not what dies here."""
    result: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return result


# -- scenarios: what was before, and the part of a life that is lived again and again --------------


def _start(world: World, *bundles: dict[str, Any]) -> None:
    """Register versions and make the first of them champion."""
    for options in bundles:
        register(world, tiny_bundle(**options))
    promote(world, MODEL, 1, actor="test", reason="the first one")


def a_promotion(world: World) -> None:
    """Bad version 1 serves, good version 2 is what a retraining brings."""
    _start(world, {"noise": 1.5, "seed": 1}, {})
    serve(world, CALM.events(0, 3))
    fly(world)
    write_result(world, version=2, trial_from=DAY_0)
    retrain(world, MODEL, actor="test", reason="to have a trial")
    serve(world, CALM.events(3, 11))


def a_rollback(world: World) -> None:
    """Good version 1 was followed, by hand, by bad version 2."""
    _start(world, {}, {"noise": 1.5, "seed": 1})
    serve(world, CALM.events(0, 4))
    fly(world)
    promote(world, MODEL, 2, actor="test", reason="to see it go")
    serve(world, CALM.events(4, 12))


def a_drift(world: World) -> None:
    """The concept changes: an alarm, a retraining, a trial, a promotion, a confirmation."""
    _start(world, {})
    serve(world, CONCEPT_DRIFT.events(CHANGE_DAY - 2, CHANGE_DAY))
    fly(world)
    serve(world, CONCEPT_DRIFT.events(CHANGE_DAY, CHANGE_DAY + 28))
    now = day(CHANGE_DAY + 8).start
    order = Retraining(champion=1, now=now, change_point=day(CHANGE_DAY).start)
    made = train_challenger(world, MODEL, order, lambda step, detail: None)
    path = world.config.root / RESULT
    path.write_text(json.dumps(msgspec.to_builtins(made)), encoding="utf-8")


def a_fault(world: World) -> None:
    """Four days of balances in another unit: a quarantine and its release."""
    _start(world, {})
    serve(world, [*CALM.events(0, 4), *map(in_cents, CALM.events(4, 8)), *CALM.events(8, 13)])


def in_cents(event: Event) -> Event:
    balance = event.row["balance"]
    changed = None if balance is None else float(balance) * 100
    return msgspec.structs.replace(event, row={**event.row, "balance": changed})


def two_versions(world: World) -> None:
    """Two good versions; the first serves, and the log has rows."""
    _start(world, {}, {"noise": 0.01})
    serve(world, CALM.events(0, 2))
    fly(world)
    write_result(world, version=2, trial_from=day(2).start)


def a_trial_under_way(world: World) -> None:
    """A retraining has been asked for, and its job is not yet collected."""
    two_versions(world)
    register(world, tiny_bundle(noise=0.02))
    retrain(world, MODEL, actor="test", reason="to be interrupted")


def after_a_promotion(world: World) -> None:
    two_versions(world)
    promote(world, MODEL, 2, actor="test", reason="to be taken back")


def after_a_canary(world: World) -> None:
    """Version 2 serves half of the entities."""
    two_versions(world)
    start_canary(world, MODEL, 2, 50, actor="test", reason="to be ended")


def a_bad_canary(world: World) -> None:
    """Bad version 2 serves half of the entities for days that the pilot has not yet seen."""
    _start(world, {}, {"noise": 3.0})
    start_canary(world, MODEL, 2, 50, actor="test", reason="to see it go")
    serve(world, CALM.events(0, 9))


def write_result(world: World, *, version: int, trial_from: Any) -> None:
    result = {
        "version": version,
        "trial_from": trial_from.isoformat(),
        "passed": True,
        "family": "logistic_regression",
        "span": "all rows",
    }
    (world.config.root / RESULT).write_text(json.dumps(result), encoding="utf-8")


def by_hand(deed: Callable[..., Any], *about: Any) -> Callable[[World], None]:
    return lambda world: deed(world, MODEL, *about, actor="test", reason="by hand")


def move_alias(world: World) -> None:
    """As MLflow's own interface does it; the life begins after that."""
    Workspace(world.config.root).registry.set_alias(MODEL, "champion", 2)
    fly(world)


SCENARIOS: dict[str, tuple[Callable[[World], None], Callable[[World], Any]]] = {
    "promotion": (a_promotion, fly),
    "rollback": (a_rollback, fly),
    "drift": (a_drift, fly),
    "fault": (a_fault, fly),
    "promotion by hand": (two_versions, by_hand(promote, 2)),
    "promotion by hand during a retraining": (a_trial_under_way, by_hand(promote, 3)),
    "rollback by hand": (after_a_promotion, by_hand(roll_back)),
    "canary by hand": (two_versions, by_hand(start_canary, 2, 25)),
    "end of a canary by hand": (after_a_canary, by_hand(end_canary)),
    "promotion of a canary by hand": (after_a_canary, by_hand(promote, 2)),
    "bad canary": (a_bad_canary, fly),
    "retraining by hand": (two_versions, by_hand(retrain)),
    "pause": (two_versions, by_hand(pause)),
    "alias moved in MLflow": (two_versions, move_alias),
}
SETTINGS = {"window": "2d", "label_lag": "0s", "probation": "20d", "min_rows": 50}


# -- lives -----------------------------------------------------------------------------------------


def in_a_process(deed: Callable[[], Any]) -> int:
    """Do something in a process of its own, as after a start; its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            deed()
        except BaseException:  # noqa: BLE001 - a child of a fork must not return
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def outcome(folder: Path) -> dict[str, Any]:
    """Everything that must be the same whether or not somebody died on the way."""
    world = inline_world(Workspace(folder))
    store, registry = world.store, world.registry
    care = store.care(MODEL)
    if care.job is not None:  # of a decision by hand, whose id is new each time
        care = msgspec.structs.replace(care, job="a job")
    deployed = Deployment(folder / ".gyroscope" / "serving" / MODEL).read()
    assert deployed is not None
    return {
        "links": store.verify_chain() > 0,
        "decisions": [
            [
                r.decision.action,
                r.status,
                r.decision.version,
                r.decision.previous,
                r.decision.reason,
            ]
            for r in store.decisions(MODEL)
        ],
        "care": msgspec.to_builtins(care),
        "aliases": registry.aliases(MODEL),
        "deployed": [
            None if d is None else d.version for d in (deployed.champion, deployed.previous)
        ],
        "canary": None
        if deployed.canary is None
        else [deployed.canary.deployed.version, deployed.canary.percent],
        "quarantines": [str(q.window) for q in store.quarantines(MODEL)],
        "jobs": [job.status for job in store.jobs(MODEL)],
    }


def import_all(folder: Path) -> None:
    """Have every library imported before the first fork, which saves seconds in each life."""
    world = inline_world(small_workspace(folder))
    register(world, tiny_bundle())
    world.store.care(MODEL)


def main(folder: Path, name: str, again: bool) -> None:
    prepare, live = SCENARIOS[name]
    template = folder / "template"
    import_all(folder / "warm")

    def make() -> None:
        small_workspace(template, **SETTINGS)
        prepare(world_of(template, Life(None)))

    if in_a_process(make):
        sys.exit(f"the scenario {name!r} cannot be prepared")
    code, changes = DEATH, 0
    while code == DEATH:
        run = fresh(folder, template)
        code = one_life(run, live, changes)
        one_life(run, tell, None)
        changes += 1
    if again:
        run = fresh(folder, template)
        one_life(run, live, changes // 2)
        for more in range(changes):
            one_life(run, fly, more)
        one_life(run, tell, None)


def fresh(folder: Path, template: Path) -> Path:
    """The workspace as it was prepared."""
    run = folder / "life"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(template, run)
    return run


def one_life(folder: Path, deed: Callable[[World], Any], changes: int | None) -> int:
    """Live in a process that dies before so many changes; its exit code."""
    code = in_a_process(lambda: deed(world_of(folder, Life(changes))))
    if code not in (0, DEATH):
        sys.exit(f"the process that was to make {changes} changes failed with exit code {code}")
    return code


def tell(world: World) -> None:
    """Fly on and say what has become of it."""
    fly(world)
    sys.stdout.write(json.dumps(outcome(world.config.root)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], again=sys.argv[3:] == ["again"])
