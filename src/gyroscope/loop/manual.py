"""Decisions that people make: recorded, carried out and undone like those of the pilot."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import msgspec

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.split import checked_percent
from gyroscope.data.contract import stricter_columns
from gyroscope.decisions import Action, Care, Decision, Recorded, decision_id
from gyroscope.errors import NotFoundError, UsageError
from gyroscope.findings import Window
from gyroscope.loop.actions import Actor
from gyroscope.loop.world import World
from gyroscope.model import CANARY, PREVIOUS, ModelVersion
from gyroscope.prediction_log.erasure import Erasure, erasures, order_erasure


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Who decides, about which model, and why."""

    model: str
    actor: str  # name of the person
    reason: str


def promote_first(world: World, version: ModelVersion, passed: bool, *, actor: str) -> bool:
    """Make a trained version champion if its model has none and the gates were passed."""
    order = Order(
        model=version.model, actor=actor, reason="the first version, and it passed its gates"
    )
    acting = Actor(world)
    with acting.alone(version.model) as care:
        first = passed and care.champion is None
        if first:
            decision = _promotion(world, order, care, version.version)
            acting.carry_out(care, care, (decision,))
    return first


def promote(world: World, model: str, version: int, *, actor: str, reason: str) -> Recorded:
    """Make ``version`` champion and put it on probation against the one before it.

    Raises:
        NotFoundError: no such version, or its bundle is gone.
        BundleError: its bundle is damaged.
        UsageError: it is champion already.
    """
    world.bundle(model, version)  # before anything is on record: verified, so that it can serve
    order = Order(model=model, actor=actor, reason=reason)
    return _by_hand(world, model, lambda care: _promotion(world, order, care, version))


def roll_back(world: World, model: str, *, actor: str, reason: str) -> Recorded:
    """Go back to the version that has the alias ``previous``.

    Raises:
        NotFoundError: there is none.
        BundleError: its bundle is damaged.
    """
    order = Order(model=model, actor=actor, reason=reason)

    def decide(care: Care) -> Decision:
        previous = world.registry.aliases(model).get(PREVIOUS)
        if previous is None or previous == care.champion:
            raise NotFoundError(f"model {model} has no previous champion to go back to")
        world.bundle(model, previous)
        return _decision(world, order, Action.ROLL_BACK, version=previous, previous=care.champion)

    return _by_hand(world, model, decide)


def start_canary(
    world: World, model: str, version: int, percent: float, *, actor: str, reason: str
) -> Recorded:
    """Let ``version`` serve a share of the entities, in percent, beside the champion.

    A canary that there is already gets the new share; another version takes its place.

    Raises:
        NotFoundError: no such version, its bundle is gone, or there is no champion.
        BundleError: its bundle is damaged.
        UsageError: a share outside 0 to 100, the version is champion, or it could not answer all
            that the champion answers.
    """
    checked_percent(percent)
    canary = world.bundle(model, version)
    order = Order(model=model, actor=actor, reason=reason)

    def decide(care: Care) -> Decision:
        if care.champion is None:
            raise NotFoundError(f"model {model} has no champion yet; run: gyro train {model}")
        if care.champion == version:
            raise UsageError(f"version {version} of {model} is champion: it serves everything")
        _check_beside(world.bundle(model, care.champion), canary)
        return _decision(
            world, order, Action.CANARY, version=version, previous=care.champion, percent=percent
        )

    return _by_hand(world, model, decide)


def end_canary(world: World, model: str, *, actor: str, reason: str) -> Recorded:
    """Let the champion serve all entities again.

    Raises:
        NotFoundError: the model has no canary.
    """
    order = Order(model=model, actor=actor, reason=reason)

    def decide(care: Care) -> Decision:
        canary = world.registry.aliases(model).get(CANARY)
        if canary is None:
            raise NotFoundError(f"model {model} has no canary")
        return _decision(world, order, Action.END_CANARY, version=canary, previous=care.champion)

    return _by_hand(world, model, decide)


def pause(world: World, model: str, *, actor: str, reason: str) -> Recorded:
    """Stop the pilot from acting on this model."""
    order = Order(model=model, actor=actor, reason=reason)
    return _by_hand(world, model, lambda care: _decision(world, order, Action.PAUSE))


def resume(world: World, model: str, *, actor: str, reason: str) -> Recorded:
    """Let the pilot act again."""
    order = Order(model=model, actor=actor, reason=reason)
    return _by_hand(world, model, lambda care: _decision(world, order, Action.RESUME))


def erase(world: World, model: str, subject: str, *, actor: str, reason: str) -> Erasure:
    """Erase all that the prediction log holds of one subject, as of now.

    The record of the decision says that it was done and why, never whose records they were.

    Args:
        world: the outside.
        model: whose log.
        subject: id of a prediction, or of the entity that predictions are about.
        actor: who decides.
        reason: goes on record; it should not name the subject.

    Raises:
        LogError: the log cannot be read or written; what was ordered is completed by the pilot, or
            by compacting the log.
    """
    order = Order(model=model, actor=actor, reason=reason)
    acting = Actor(world)
    with acting.alone(model) as care:
        order_erasure(world.log_folder(model), subject)
        acting.carry_out(care, care, (_decision(world, order, Action.ERASE),))
    return erasures(world.log_folder(model))[-1]


def retrain(world: World, model: str, *, actor: str, reason: str) -> Recorded:
    """Have the pilot train challengers now, whatever the cooldown says.

    Raises:
        NotFoundError: the model has no champion yet.
        UsageError: it is being retrained or is on trial already.
    """
    order = Order(model=model, actor=actor, reason=reason)

    def decide(care: Care) -> Decision:
        if care.champion is None:
            raise NotFoundError(f"model {model} has no champion yet; run: gyro train {model}")
        return _decision(world, order, Action.RETRAIN)

    return _by_hand(world, model, decide)


def _by_hand(world: World, model: str, decide: Callable[[Care], Decision]) -> Recorded:
    """Decide on the state as it is and carry it out; refused before anything is on record."""
    acting = Actor(world)
    with acting.alone(model) as care:
        decision = decide(care)
        acting.carry_out(care, care, (decision,))
    return world.store.decision(decision.id)


def _check_beside(champion: Bundle, canary: Bundle) -> None:
    """Refuse a canary that would refuse rows, or explanations, that the champion takes."""
    differ = stricter_columns(canary.contract, champion.contract)
    if differ:
        raise UsageError(
            "the canary would refuse rows that the champion takes: its contract differs in "
            f"{', '.join(differ)}; train a version with the champion's contract"
        )
    if champion.explains and not canary.explains:
        raise UsageError(
            "the canary cannot explain its predictions and the champion can; to serve it all the "
            "same, promote it"
        )


def _promotion(world: World, order: Order, care: Care, version: int) -> Decision:
    if care.champion == version:
        raise UsageError(f"version {version} of {order.model} is champion already")
    now = world.now(order.model)
    probation = Window(now, now + world.config.model(order.model).settings["probation"])
    return _decision(
        world, order, Action.PROMOTE, window=probation, version=version, previous=care.champion
    )


def _decision(world: World, order: Order, action: Action, **about: Any) -> Decision:
    """A decision with an id of its own: a person who says the same twice means it twice."""
    return Decision(
        id=decision_id(order.model, action, "by hand", uuid.uuid4()),
        model=order.model,
        at=world.now(order.model),
        action=action,
        reason=order.reason,
        actor=order.actor,
        **about,
    )
