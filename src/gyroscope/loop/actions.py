"""Carrying out decisions: the only place where the loop changes the world.

A decision is recorded, acted upon, entered into the state of its model, and only then called done.
So one that is not called done when its process dies may be anywhere on that road; since every step
can be taken twice, it is taken up from the start by whoever acts on the model next. For that to be
safe, processes act on a model one at a time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

import msgspec

from gyroscope.decide.states import adopted, after
from gyroscope.decisions import Action, Care, Decision, Recorded, Status, decision_id
from gyroscope.errors import ConflictError, NotFoundError, UsageError
from gyroscope.loop.jobs import RETRAIN
from gyroscope.loop.training import Retraining
from gyroscope.loop.upkeep import complete_erasure
from gyroscope.loop.world import World
from gyroscope.model import CANARY, CHALLENGER, PREVIOUS
from gyroscope.promote.promotion import MOVES, SPLITS, Promoter, champion_of
from gyroscope.store.base import Job, JobStatus, Quarantine

_UNFINISHED = (Status.DECIDED, Status.ACTING)
_ERASE_AGAIN_S = 60.0  # from an erasure that could not be completed to the next try

_log = logging.getLogger("gyroscope.decisions")


class Actor:
    """Puts decisions on record and carries each out once, however often its process dies."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._promoter = Promoter(world.registry, world.publisher)
        self._erase_at: dict[str, float] = {}  # next tries, by decision; in time.monotonic

    @contextmanager
    def alone(self, model: str) -> Iterator[Care]:
        """The state of a model while nobody else acts on it.

        What a killed process left undone is finished or undone first, and a champion that was
        chosen elsewhere, for example in MLflow, is adopted.

        Raises:
            GyroscopeError: another process acts on the model and does not come to an end.
        """
        with self._world.acting_on(model):
            for recorded in self.unfinished(model):
                self._take_up(recorded)
            self._adopt_champion(model)
            yield self._world.store.care(model)

    def unfinished(self, model: str) -> list[Recorded]:
        """Decisions that somebody is carrying out, or has left undone.

        Not among them are erasures that could not be completed a moment ago.
        """
        found = self._world.store.decisions(model, statuses=_UNFINISHED)
        now = time.monotonic()
        return [one for one in found if now >= self._erase_at.get(one.decision.id, now)]

    def carry_out(self, before: Care, done: Care, decisions: Sequence[Decision]) -> Care:
        """Carry out decisions in a block of :meth:`alone` and save the state they lead to.

        Args:
            before: the state as it is.
            done: the state as it will be, but for the decisions.
            decisions: may be on record from an earlier try; what has ended is not done again.

        Raises:
            UsageError: a decision does not fit the state; it is not on record.
        """
        care, acted = done, []
        for decision in decisions:
            after(care, decision)
            recorded = self._recorded(decision)
            if recorded.status in _UNFINISHED and self._act(recorded, care):
                care = after(care, recorded.decision)
                acted.append(recorded.decision)
        self._save(before, care)
        for decision in acted:
            self._end(decision, Status.DONE)
        return care

    def _take_up(self, recorded: Recorded) -> None:
        """Finish or undo a decision whose process died at any point of :meth:`carry_out`."""
        if recorded.decision.action is Action.ERASE:
            self._take_up_erasure(recorded)
            return
        care = self._world.store.care(recorded.decision.model)
        if self._act(recorded, care):
            self._save(care, _with(care, recorded.decision))
            self._end(recorded.decision, Status.DONE)

    def _take_up_erasure(self, recorded: Recorded) -> None:
        """Complete an erasure; one that cannot be stays on record as begun, and is tried again.

        It changes nothing of what the pilot goes by, so the model is watched meanwhile.
        """
        decision = recorded.decision
        try:
            complete_erasure(self._world, decision.model, wait_s=0.0)
        except Exception as error:  # noqa: BLE001  whatever it is, the watch goes on
            self._erase_at[decision.id] = time.monotonic() + _ERASE_AGAIN_S
            _log.warning(
                "%s: an erasure is not complete, trying again in %.0f s: %s",
                *(decision.model, _ERASE_AGAIN_S, error),
            )
            if recorded.status is Status.DECIDED:
                note = f"not complete yet, tried again: {error}"
                self._world.store.advance(decision.id, Status.DECIDED, Status.ACTING, note)
        else:
            self._end(decision, Status.DONE)

    def _adopt_champion(self, model: str) -> None:
        """Bring the state in line with the registry, which says who is champion."""
        care = self._world.store.care(model)
        champion = champion_of(self._world.registry, model)
        if champion == care.champion:
            return
        now = self._world.now(model)
        if care.champion is not None:
            with suppress(NotFoundError):  # it may have been deleted
                self._world.registry.set_alias(model, PREVIOUS, care.champion)
        self._world.registry.remove_alias(model, CHALLENGER)
        self._world.registry.remove_alias(model, CANARY)  # its split was with another champion
        changed = msgspec.structs.replace(adopted(care, champion), since=now)
        self.carry_out(care, changed, (_adoption(care, champion, now),))

    def _recorded(self, decision: Decision) -> Recorded:
        try:
            return self._world.store.record(decision)
        except ConflictError:
            # Decided before a crash on fewer labels than there are now: the first word stands.
            return self._world.store.decision(decision.id)

    def _act(self, recorded: Recorded, care: Care) -> bool:
        """The effect of a decision on the world; doing it twice is doing it once.

        If it is no longer possible the decision is undone, and the answer is False.
        """
        decision = recorded.decision
        _log.info("%s: %s: %s", decision.model, decision.action, decision.reason)
        if decision.action in (*MOVES, *SPLITS):
            return self._move(recorded)
        self._change_world(decision, care)
        return True

    def _move(self, recorded: Recorded) -> bool:
        decision = recorded.decision
        if recorded.status is Status.DECIDED:
            self._world.store.advance(decision.id, Status.DECIDED, Status.ACTING)
        moves = decision.action in MOVES
        obstacle = (self._promoter.move if moves else self._promoter.split)(decision)
        if obstacle:
            self._end(decision, Status.UNDONE, obstacle)
        return not obstacle

    def _change_world(self, decision: Decision, care: Care) -> None:
        world, model = self._world, decision.model
        if decision.action is Action.QUARANTINE and decision.window is not None:
            world.store.add_quarantine(
                Quarantine(
                    model=model,
                    window=decision.window,
                    reason=decision.reason,
                    decision_id=decision.id,
                )
            )
        elif decision.action is Action.RETRAIN:
            self._submit(decision, care)
        elif decision.action is Action.START_TRIAL and decision.version is not None:
            world.registry.set_alias(model, CHALLENGER, decision.version)
        elif decision.action is Action.REJECT:
            world.registry.remove_alias(model, CHALLENGER)
        elif decision.action is Action.ERASE:
            complete_erasure(world, model)

    def _submit(self, decision: Decision, care: Care) -> None:
        assert care.champion is not None  # the policy retrains only what serves
        order = Retraining(
            champion=care.champion, now=decision.at, change_point=care.detector.change_point
        )
        job = Job(
            id=decision.id,
            model=decision.model,
            kind=RETRAIN,
            arguments=msgspec.to_builtins(order),
            created=datetime.now(UTC),
        )
        try:
            job = self._world.store.job(job.id)
        except NotFoundError:
            self._world.store.save_job(job)
        self._world.executor.submit(job)

    def _save(self, before: Care, care: Care) -> None:
        if before.job is not None and care.job is None:
            self._cancel(before.job)
        self._world.store.save_care(before, care)

    def _cancel(self, job_id: str) -> None:
        """Stop a job that nobody waits for any more; nothing happens to one that has ended."""
        job = self._world.store.job(job_id)
        if job.status in (JobStatus.QUEUED, JobStatus.RUNNING):
            self._world.executor.cancel(job)
            stopped = msgspec.structs.replace(
                job,
                status=JobStatus.FAILED,
                finished=datetime.now(UTC),
                error="stopped: another version has become champion",
            )
            self._world.store.save_job(stopped)

    def _end(self, decision: Decision, status: Status, note: str = "") -> None:
        before = self._world.store.decision(decision.id).status
        self._world.store.advance(decision.id, before, status, note)


def _adoption(care: Care, champion: int | None, now: datetime) -> Decision:
    """The notice that the champion was chosen elsewhere."""
    if champion is None:
        reason = (
            f"The alias champion was taken from version {care.champion} in the registry. Servers "
            "go on with it, and nothing is watched until a version is champion again."
        )
    else:
        reason = f"Version {champion} was made champion in the registry; it is watched from now on."
    return Decision(
        id=decision_id(care.model, Action.NOTICE, "champion", care.champion, champion, care.since),
        model=care.model,
        at=now,
        action=Action.NOTICE,
        reason=reason,
        actor="registry",
        version=champion,
        previous=care.champion,
    )


def _with(care: Care, decision: Decision) -> Care:
    """The state with a decision that may have been entered into it already."""
    if decision.action in MOVES and care.champion == decision.version:
        return care
    try:
        return after(care, decision)
    except UsageError:  # it was: nobody changes the state while a decision is unfinished
        return care
