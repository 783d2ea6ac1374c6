"""What people decide, and what is refused to them."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import msgspec
import pytest

from gyroscope.decisions import Action, State, Status
from gyroscope.errors import BundleError, GyroscopeError, NotFoundError, UsageError
from gyroscope.loop.actions import Actor
from gyroscope.loop.manual import pause, promote, promote_first, resume, retrain, roll_back
from gyroscope.loop.world import World
from gyroscope.prediction_log.base import PredictionLog
from gyroscope.store.base import Job, JobStatus
from gyroscope.testing.small_workspace import MODEL, fly, register, serve
from gyroscope.testing.worlds import CALM, tiny_bundle

ME = "somebody"


@pytest.fixture
def second(world: World) -> int:
    """A second version, nearly as good as the first."""
    return register(world, tiny_bundle(noise=0.01))


def test_a_promotion_is_recorded_with_name_and_reason(world: World, second: int) -> None:
    recorded = promote(world, MODEL, second, actor=ME, reason="newer data")
    decision = recorded.decision
    assert recorded.status is Status.DONE
    assert (decision.actor, decision.reason, decision.previous) == (ME, "newer data", 1)
    care = world.store.care(MODEL)
    assert (care.champion, care.state) == (second, State.PROBATION)
    assert world.registry.aliases(MODEL) == {"champion": second, "previous": 1}


def test_the_same_deed_can_be_done_twice_at_one_time_of_the_log(world: World, second: int) -> None:
    serve(world, CALM.events(0, 1))
    for _ in range(2):
        promote(world, MODEL, second, actor=ME, reason="try it")
        roll_back(world, MODEL, actor=ME, reason="no")
        pause(world, MODEL, actor=ME, reason="stop")
        resume(world, MODEL, actor=ME, reason="go")
    done = world.store.decisions(MODEL)[1:]
    assert [r.decision.action for r in done] == 2 * [
        *(Action.PROMOTE, Action.ROLL_BACK, Action.PAUSE, Action.RESUME)
    ]
    assert world.registry.aliases(MODEL) == {"champion": 1}
    assert not world.store.care(MODEL).paused


REFUSALS: list[tuple[Callable[[World], object], type[GyroscopeError], str]] = [
    (lambda w: promote(w, MODEL, 1, actor=ME, reason="-"), UsageError, "champion already"),
    (lambda w: promote(w, MODEL, 7, actor=ME, reason="-"), NotFoundError, "has no version 7"),
    (lambda w: roll_back(w, MODEL, actor=ME, reason="-"), NotFoundError, "no previous champion"),
]


@pytest.mark.parametrize(("deed", "error", "message"), REFUSALS, ids=["again", "unknown", "back"])
def test_what_cannot_be_done_leaves_no_trace(
    world: World, deed: Callable[[World], object], error: type[GyroscopeError], message: str
) -> None:
    before = traces(world)
    with pytest.raises(error, match=message):
        deed(world)
    assert traces(world) == before


def traces(world: World) -> tuple[object, ...]:
    store = world.store
    return store.care(MODEL), store.decisions(MODEL), world.registry.aliases(MODEL)


def test_a_second_retraining_is_refused_while_one_is_under_way(world: World) -> None:
    serve(world, CALM.events(0, 3))
    retrain(world, MODEL, actor=ME, reason="now")
    with pytest.raises(UsageError, match="must be in healthy or suspect"):
        retrain(world, MODEL, actor=ME, reason="and again")
    assert len(world.store.jobs(MODEL)) == 1


def test_a_damaged_bundle_is_not_promoted(world: World, second: int) -> None:
    folder = world.registry.bundle_folder(MODEL, second)
    (folder / "reference.json").write_text("{}")
    with pytest.raises(BundleError, match="reference"):
        promote(world, MODEL, second, actor=ME, reason="it looks fine")
    shutil.rmtree(folder)
    with pytest.raises(NotFoundError, match="is not in"):
        promote(world, MODEL, second, actor=ME, reason="it looks fine")
    assert world.registry.aliases(MODEL) == {"champion": 1}


def test_only_the_first_version_that_passes_its_gates_becomes_champion_by_itself(
    world: World, second: int
) -> None:
    version = world.registry.version(MODEL, second)
    assert not promote_first(world, version, True, actor=ME)
    world.registry.remove_alias(MODEL, "champion")
    assert not promote_first(world, version, False, actor=ME)
    assert promote_first(world, version, True, actor=ME)
    assert world.registry.aliases(MODEL)["champion"] == second


class EndlessJobs:
    """An executor whose jobs do not come to an end."""

    def submit(self, job: Job) -> None: ...

    def poll(self, job: Job) -> Job:
        return job

    def cancel(self, job: Job) -> None: ...

    def close(self) -> None: ...


def test_a_promotion_stops_the_retraining_under_way(world: World, second: int) -> None:
    serve(world, CALM.events(0, 2))
    waiting = msgspec.structs.replace(world, executor=EndlessJobs())
    retrain(waiting, MODEL, actor=ME, reason="now")
    promote(waiting, MODEL, second, actor=ME, reason="better still")
    (job,) = world.store.jobs(MODEL)
    assert job.status is JobStatus.FAILED
    assert "another version has become champion" in job.error
    assert world.store.care(MODEL).job is None


def test_nobody_acts_on_a_model_while_somebody_else_does(
    world: World, second: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gyroscope.loop.world._WAIT_S", 0.0)
    with Actor(world).alone(MODEL) as care:
        assert care.champion == 1
        with pytest.raises(GyroscopeError, match="is acting on model churn already"):
            promote(world, MODEL, second, actor=ME, reason="in between")
    promote(world, MODEL, second, actor=ME, reason="afterwards")


def test_a_step_that_a_person_was_faster_than_is_done_again(world: World, second: int) -> None:
    serve(world, CALM.events(0, 3))
    waiting = [second]

    def log_read_slowly(model: str) -> PredictionLog:
        if waiting:
            promote(world, MODEL, waiting.pop(), actor=ME, reason="just now")
        return world.log(model)

    fly(msgspec.structs.replace(world, log=log_read_slowly))
    assert world.store.care(MODEL).champion == second
    assert world.store.care(MODEL).state is State.PROBATION
