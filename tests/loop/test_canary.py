"""Canaries as decisions: on record first, refused without a trace, ended with the champion."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gyroscope.bundle.deployment import Canary, Deployment
from gyroscope.decide.policy import decide_canary
from gyroscope.decisions import Action, Status
from gyroscope.errors import GyroscopeError, NotFoundError, UsageError
from gyroscope.findings import Kind, Verdict
from gyroscope.loop.actions import Actor
from gyroscope.loop.canaries import canary_decision, canary_finding
from gyroscope.loop.manual import end_canary, pause, promote, resume, roll_back, start_canary
from gyroscope.loop.verification import replay_scores
from gyroscope.loop.world import World
from gyroscope.model import CANARY
from gyroscope.testing.small_workspace import MODEL, fly, register, serve
from gyroscope.testing.worlds import CALM, tiny_bundle

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


def test_what_cannot_be_done_leaves_no_trace(world: World, second: int) -> None:
    assert second == 2
    before = world.store.decisions(MODEL), world.registry.aliases(MODEL)
    for deed, error, message in REFUSALS:
        with pytest.raises(error, match=message):
            deed(world)
    assert (world.store.decisions(MODEL), world.registry.aliases(MODEL)) == before


def test_the_scores_of_a_canary_are_not_taken_for_the_champions(world: World) -> None:
    canary = register(world, tiny_bundle(noise=3.0))
    start(world, canary, 50)
    pause(world, MODEL, actor=ME, reason="so that it goes on")
    events = CALM.events(0, 3)
    serve(world, events)
    fly(world)
    found = world.store.findings(MODEL)
    kinds = (Kind.SCORE_DRIFT, Kind.PERFORMANCE, Kind.ESTIMATED_PERFORMANCE)
    served = [p for p in world.log(MODEL).read().predictions if p.version == 1]
    assert 0.3 < len(served) / len(events) < 0.7
    windows = {f.window for f in found if f.check == "row_count" and f.window is not None}
    of_champion = {w: sum(p.time in w for p in served) for w in windows}
    assert len(windows) == 2  # the third day is not over
    for kind in kinds:
        about = {f.window for f in found if f.kind is kind and f.window is not None}
        assert about
        for window in about:
            most = max(f.n for f in found if (f.kind, f.window) == (kind, window))
            assert most == of_champion[window]
    assert {f.kind for f in found if f.verdict is Verdict.ALARM} <= {Kind.CANARY}
    replayed = replay_scores(world, MODEL)
    assert (replayed.rows, replayed.different) == (len(events), 0)


def test_the_pilot_ends_a_canary_that_is_surely_worse_but_not_while_paused(world: World) -> None:
    bad = register(world, tiny_bundle(noise=3.0))
    start(world, bad, 50)
    pause(world, MODEL, actor=ME, reason="look on")
    serve(world, CALM.events(0, 8))
    fly(world)
    [*_, seen] = [f for f in world.store.findings(MODEL) if f.kind is Kind.CANARY]
    assert (seen.verdict, seen.subject) == (Verdict.ALARM, "version 2 against 1")
    assert canary_of(world) is not None
    resume(world, MODEL, actor=ME, reason="go on")
    serve(world, CALM.events(8, 11))
    fly(world)
    [ended] = [r for r in world.store.decisions(MODEL) if r.decision.action is Action.END_CANARY]
    decision = ended.decision
    assert (ended.status, decision.actor, decision.version) == (Status.DONE, "autopilot", bad)
    assert "the canary is surely worse" in decision.reason
    assert [f.kind for f in decision.findings] == [Kind.CANARY]
    assert canary_of(world) is None
    assert world.registry.aliases(MODEL) == {"champion": 1}


def test_a_canary_that_is_surely_better_goes_on_and_is_not_promoted(world: World) -> None:
    promote(world, MODEL, register(world, tiny_bundle(noise=3.0)), actor=ME, reason="worse")
    start(world, 1, 50)
    serve(world, CALM.events(0, 8))
    decided = canary_decision(world, MODEL)
    assert decided is not None
    seen = canary_finding(world, MODEL, decided)
    assert seen.verdict is Verdict.NOTICE
    assert "the canary is surely better" in seen.detail
    assert decide_canary(world.store.care(MODEL), seen, decided, decided.at) == ()


def test_only_rows_since_the_share_was_set_are_compared(world: World, second: int) -> None:
    start(world, second, 50)
    serve(world, CALM.events(0, 5))
    decided = canary_decision(world, MODEL)
    assert decided is not None
    before = canary_finding(world, MODEL, decided)
    assert before.n > 100
    start(world, second, 60)
    decided = canary_decision(world, MODEL)
    assert decided is not None
    assert decided.percent == 60
    after = canary_finding(world, MODEL, decided)
    assert after.n < 10
    assert after.verdict is Verdict.NOT_ENOUGH_DATA
