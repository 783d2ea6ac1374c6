"""Canaries as decisions: on record first, refused without a trace, ended with the champion."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gyroscope.bundle.deployment import Canary, Deployment
from gyroscope.decisions import Action, Status
from gyroscope.errors import GyroscopeError, NotFoundError, UsageError
from gyroscope.findings import Kind, Verdict
from gyroscope.loop.actions import Actor
from gyroscope.loop.manual import end_canary, promote, roll_back, start_canary
from gyroscope.loop.verification import replay_scores
from gyroscope.loop.world import World
from gyroscope.model import CANARY
from gyroscope.testing.small_workspace import MODEL, fly, register, serve
from gyroscope.testing.worlds import CALM, logged, tiny_bundle

ME = "somebody"


@pytest.fixture
def second(world: World) -> int:
    return register(world, tiny_bundle(noise=0.01))


def canary_of(world: World) -> Canary | None:
    """The canary that servers see."""
    versions = Deployment(world.config.state / "serving" / MODEL).read()
    assert versions is not None
    return versions.canary


def start(world: World, version: int, percent: float = 10) -> None:
    start_canary(world, MODEL, version, percent, actor=ME, reason="try it")


def test_a_canary_is_on_record_and_deployed_and_can_grow_and_end(world: World, second: int) -> None:
    for percent in (10.0, 0.1, 100.0):
        start(world, second, percent)
        canary = canary_of(world)
        assert canary is not None
        assert (canary.deployed.version, canary.percent) == (second, percent)
    recorded = world.store.decisions(MODEL)[-1]
    decision = recorded.decision
    assert recorded.status is Status.DONE
    assert (decision.action, decision.version, decision.previous, decision.percent) == (
        *(Action.CANARY, second, 1, 100.0),
    )
    links = world.store.verify_chain()
    end_canary(world, MODEL, actor=ME, reason="enough")
    assert canary_of(world) is None
    assert world.registry.aliases(MODEL) == {"champion": 1}
    assert world.store.verify_chain() > links


def test_a_canary_ends_when_it_becomes_champion_and_when_the_champion_is_rolled_back(
    world: World, second: int
) -> None:
    third = register(world, tiny_bundle(noise=0.02))
    start(world, second)
    promote(world, MODEL, second, actor=ME, reason="good")
    assert canary_of(world) is None
    start(world, third)
    roll_back(world, MODEL, actor=ME, reason="bad")
    assert canary_of(world) is None
    assert world.registry.aliases(MODEL) == {"champion": 1}


def test_a_canary_ends_when_another_champion_is_chosen_in_the_registry(
    world: World, second: int
) -> None:
    third = register(world, tiny_bundle(noise=0.02))
    start(world, second)
    world.registry.set_alias(MODEL, "champion", third)
    with Actor(world).alone(MODEL):
        pass
    assert CANARY not in world.registry.aliases(MODEL)


def test_a_decision_that_was_left_undone_is_carried_out(world: World, second: int) -> None:
    start(world, second)
    done = world.store.decisions(MODEL)[-1].decision
    end_canary(world, MODEL, actor=ME, reason="enough")
    world.store.record(msgspec.structs.replace(done, id="left", percent=20.0))
    assert canary_of(world) is None
    with Actor(world).alone(MODEL):
        pass
    canary = canary_of(world)
    assert canary is not None
    assert canary.percent == 20
    assert world.store.decision("left").status is Status.DONE


REFUSALS: list[tuple[Callable[[World], object], type[GyroscopeError], str]] = [
    (lambda w: start(w, 1), UsageError, "is champion"),
    (lambda w: start(w, 7), NotFoundError, "has no version 7"),
    (lambda w: start(w, 2, 101), UsageError, "must lie in 0 to 100 percent, got 101"),
    (lambda w: end_canary(w, MODEL, actor=ME, reason="-"), NotFoundError, "has no canary"),
]


@pytest.mark.parametrize(("deed", "error", "message"), REFUSALS)
def test_what_cannot_be_done_leaves_no_trace(
    world: World, second: int, deed: Callable[[World], object], error: type, message: str
) -> None:
    before = world.store.decisions(MODEL), world.registry.aliases(MODEL)
    with pytest.raises(error, match=message):
        deed(world)
    assert (world.store.decisions(MODEL), world.registry.aliases(MODEL)) == before


def test_the_scores_of_a_canary_are_not_taken_for_the_champions(world: World) -> None:
    canary = register(world, tiny_bundle(noise=3.0))
    start(world, canary, 50)
    events = CALM.events(0, 3)
    ours, its = events[::3], [event for i, event in enumerate(events) if i % 3]
    serve(world, ours)
    predictions, labels = logged(its, world.bundle(MODEL, canary), version=canary)
    world.log(MODEL).append(predictions)
    world.log(MODEL).append_labels(labels)
    fly(world)
    found = world.store.findings(MODEL)
    kinds = (Kind.SCORE_DRIFT, Kind.PERFORMANCE, Kind.ESTIMATED_PERFORMANCE)
    days = {f.window: f.n for f in found if f.check == "row_count"}
    assert days
    for finding in found:
        if finding.kind in kinds and finding.check != "performance":
            assert abs(finding.n - days[finding.window] / 3) <= 1, finding
    assert all(f.verdict is not Verdict.ALARM for f in found)
    replayed = replay_scores(world, MODEL)
    assert (replayed.rows, replayed.different) == (len(events), 0)
