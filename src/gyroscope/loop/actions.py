"""Carrying out decisions: the only place where the loop changes the world."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

from gyroscope.decisions import Action, Care, Decision, Recorded, Status
from gyroscope.errors import ConflictError
from gyroscope.loop.jobs import RETRAIN
from gyroscope.loop.training import Retraining
from gyroscope.loop.world import World
from gyroscope.model import CHALLENGER
from gyroscope.promote.promotion import MOVES, Promoter
from gyroscope.store.base import Job, Quarantine

_log = logging.getLogger("gyroscope.decisions")


class Actor:
    """Puts decisions on record and carries each out once, however often it is asked to."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._promoter = Promoter(world.registry, world.store, world.publisher)

    def carry_out(self, decision: Decision, care: Care) -> Recorded:
        """Record a decision, act, and return it in its final status.

        A decision that is on record already, from before a crash, is taken up where it was left.
        """
        recorded = self._record(decision)
        decision = recorded.decision
        if recorded.status not in (Status.DECIDED, Status.ACTING):
            return recorded
        _log.info("%s: %s: %s", decision.model, decision.action, decision.reason)
        if decision.action in MOVES:
            self._promoter.carry_out(recorded)
            return self._world.store.decision(decision.id)
        self._act(decision, care)
        return self._world.store.advance(decision.id, recorded.status, Status.DONE)

    def recover(self, model: str) -> list[Decision]:
        """Finish or undo the alias moves that were half done when a process died."""
        return self._promoter.recover(model)

    def _record(self, decision: Decision) -> Recorded:
        try:
            return self._world.store.record(decision)
        except ConflictError:
            # Decided before a crash on fewer labels than there are now: the first word stands.
            return self._world.store.decision(decision.id)

    def _act(self, decision: Decision, care: Care) -> None:
        """The effect of a decision that moves no champion; doing it twice is doing it once."""
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
        self._world.store.save_job(job)
        self._world.executor.submit(job)
