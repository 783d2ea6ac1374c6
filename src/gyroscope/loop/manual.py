"""Decisions that people make: recorded, carried out and undone like those of the pilot."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from gyroscope.decide.states import after
from gyroscope.decisions import Action, Care, Decision, Recorded, Status, decision_id
from gyroscope.errors import ConflictError, NotFoundError, UsageError
from gyroscope.findings import Window
from gyroscope.loop.actions import Actor
from gyroscope.loop.world import World
from gyroscope.model import CHAMPION, PREVIOUS, ModelVersion

_TRIES = 20  # the pilot may change the state between our look and our move


def promote_first(world: World, version: ModelVersion, passed: bool, *, actor: str) -> bool:
    """Make a trained version champion if its model has none and the gates were passed."""
    if not passed or world.registry.holder(version.model, CHAMPION) is not None:
        return False
    reason = "the first version, and it passed its gates"
    promote(world, version.model, version.version, actor=actor, reason=reason)
    return True


def promote(world: World, model: str, version: int, *, actor: str, reason: str) -> Recorded:
    """Make ``version`` champion and put it on probation against the one before it.

    Raises:
        NotFoundError: no such version.
        UsageError: it is champion already.
    """
    world.registry.version(model, version)

    def decide(care: Care) -> Decision:
        champion = _champion(world, model)
        if champion == version:
            raise UsageError(f"version {version} of {model} is champion already")
        now = world.now(model)
        probation: timedelta = world.config.model(model).settings["probation"]
        return Decision(
            id=decision_id(model, Action.PROMOTE, version, "by hand", now),
            model=model,
            at=now,
            action=Action.PROMOTE,
            reason=reason,
            actor=actor,
            window=Window(now, now + probation),
            version=version,
            previous=champion,
        )

    return _by_hand(world, model, decide)


def roll_back(world: World, model: str, *, actor: str, reason: str) -> Recorded:
    """Go back to the version that has the alias ``previous``.

    Raises:
        NotFoundError: there is none.
    """

    def decide(care: Care) -> Decision:
        previous = world.registry.holder(model, PREVIOUS)
        if previous is None:
            raise NotFoundError(f"model {model} has no previous champion to go back to")
        now = world.now(model)
        return Decision(
            id=decision_id(model, Action.ROLL_BACK, previous.version, "by hand", now),
            model=model,
            at=now,
            action=Action.ROLL_BACK,
            reason=reason,
            actor=actor,
            version=previous.version,
            previous=_champion(world, model),
        )

    return _by_hand(world, model, decide)


def pause(world: World, model: str, *, actor: str, reason: str) -> Recorded:
    """Stop the pilot from acting on this model."""
    return _simple(world, model, Action.PAUSE, actor=actor, reason=reason)


def resume(world: World, model: str, *, actor: str, reason: str) -> Recorded:
    """Let the pilot act again."""
    return _simple(world, model, Action.RESUME, actor=actor, reason=reason)


def retrain(world: World, model: str, *, actor: str, reason: str) -> Recorded:
    """Have the pilot train challengers now, whatever the cooldown says.

    Raises:
        NotFoundError: the model has no champion yet.
        UsageError: it is being retrained or is on trial already.
    """
    if _champion(world, model) is None:
        raise NotFoundError(f"model {model} has no champion yet; run: gyro train {model}")
    return _simple(world, model, Action.RETRAIN, actor=actor, reason=reason)


def _simple(world: World, model: str, action: Action, *, actor: str, reason: str) -> Recorded:
    def decide(care: Care) -> Decision:
        now = world.now(model)
        return Decision(
            id=decision_id(model, action, "by hand", now, care),
            model=model,
            at=now,
            action=action,
            reason=reason,
            actor=actor,
        )

    return _by_hand(world, model, decide)


def _by_hand(world: World, model: str, decide: Callable[[Care], Decision]) -> Recorded:
    """Decide on the state as it is, act, and bring the state in line with what was done."""
    care = world.store.care(model)
    decision = decide(care)
    after(care, decision)  # refuses what the state does not allow, before anything is on record
    recorded = Actor(world).carry_out(decision, care)
    if recorded.status is Status.DONE:
        settle(world, recorded.decision)
    return recorded


def settle(world: World, decision: Decision) -> None:
    """Bring the state of a model in line with a decision that was carried out."""
    for _ in range(_TRIES):
        care = world.store.care(decision.model)
        try:
            world.store.save_care(care, after(care, decision))
        except ConflictError:
            continue
        return
    raise ConflictError(f"the state of {decision.model} changes all the time; try again")


def _champion(world: World, model: str) -> int | None:
    holder = world.registry.holder(model, CHAMPION)
    return None if holder is None else holder.version
