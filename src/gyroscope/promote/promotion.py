"""Moving the aliases: a promotion or rollback, finished or undone whenever the process dies.

The decision is on record before anything moves. The champion alias moves in one atomic step; what
comes before it harms nothing if it is all that happened, and what comes after can be repeated.
"""

from __future__ import annotations

from gyroscope.decisions import Action, Decision, Recorded, Status
from gyroscope.errors import GyroscopeError
from gyroscope.model import CHALLENGER, CHAMPION, PREVIOUS
from gyroscope.registry.publisher import Publisher
from gyroscope.registry.registry import Registry
from gyroscope.store.base import Store

MOVES = (Action.PROMOTE, Action.ROLL_BACK)


class Promoter:
    """Carries out decisions that change the champion."""

    def __init__(self, registry: Registry, store: Store, publisher: Publisher) -> None:
        self._registry, self._store, self._publisher = registry, store, publisher

    def carry_out(self, recorded: Recorded) -> Status:
        """Move the aliases as decided and return the decision's final status.

        May be called again at any point of an earlier call that did not finish: it goes on from
        there. If somebody else has moved the champion meanwhile, the decision is undone.
        """
        decision = recorded.decision
        if decision.action not in MOVES or decision.version is None:
            raise GyroscopeError(f"decision {decision.id} ({decision.action}) moves no alias")
        if recorded.status not in (Status.DECIDED, Status.ACTING):
            return recorded.status
        holder = self._registry.holder(decision.model, CHAMPION)
        champion = None if holder is None else holder.version
        if champion not in (decision.previous, decision.version):
            note = f"version {champion} has become champion meanwhile"
            self._store.advance(decision.id, recorded.status, Status.UNDONE, note)
            return Status.UNDONE
        if recorded.status is Status.DECIDED:
            self._store.advance(decision.id, Status.DECIDED, Status.ACTING)
        self._move(decision)
        self._store.advance(decision.id, Status.ACTING, Status.DONE)
        return Status.DONE

    def recover(self, model: str) -> list[Decision]:
        """Finish or undo what was half done when a process died; returns those decisions."""
        pending = self._store.decisions(model, statuses=(Status.DECIDED, Status.ACTING))
        moves = [recorded for recorded in pending if recorded.decision.action in MOVES]
        for recorded in moves:
            self.carry_out(recorded)
        return [recorded.decision for recorded in moves]

    def _move(self, decision: Decision) -> None:
        model, version, registry = decision.model, decision.version, self._registry
        assert version is not None  # checked by carry_out
        if decision.action is Action.PROMOTE and decision.previous is not None:
            registry.set_alias(model, PREVIOUS, decision.previous)
        registry.set_alias(model, CHAMPION, version)
        if decision.action is Action.ROLL_BACK:
            registry.remove_alias(model, PREVIOUS)
        challenger = registry.holder(model, CHALLENGER)
        if challenger is not None and challenger.version == version:
            registry.remove_alias(model, CHALLENGER)
        self._publisher.publish(model)
