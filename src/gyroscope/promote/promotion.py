"""Moving the aliases: a promotion, rollback or canary, from wherever an earlier try was left.

The champion alias moves in one atomic step. What comes before it harms nothing if it is all that
happened, and what comes after can be repeated.
"""

from __future__ import annotations

from gyroscope.decisions import Action, Decision
from gyroscope.errors import GyroscopeError, NotFoundError
from gyroscope.model import CANARY, CHALLENGER, CHAMPION, PREVIOUS
from gyroscope.registry.publisher import CANARY_PERCENT, Publisher
from gyroscope.registry.registry import Registry

MOVES = (Action.PROMOTE, Action.ROLL_BACK)
SPLITS = (Action.CANARY, Action.END_CANARY)


class Promoter:
    """Moves the aliases as decisions say."""

    def __init__(self, registry: Registry, publisher: Publisher) -> None:
        self._registry, self._publisher = registry, publisher

    def move(self, decision: Decision) -> str:
        """Move the aliases and tell the servers; returns why not, empty if it was done.

        May be called again at any point of an earlier call that did not finish: it goes on from
        there. If somebody else has moved the champion meanwhile, nothing is moved. A trial is over
        with the champion it was held against, and so is the split between it and a canary: both
        aliases are taken away. Servers are told as soon as the champion has moved.

        Raises:
            GyroscopeError: the decision moves no alias.
        """
        model, version = decision.model, decision.version
        if decision.action not in MOVES or version is None:
            raise GyroscopeError(f"decision {decision.id} ({decision.action}) moves no alias")
        aliases = self._registry.aliases(model)
        obstacle = self._obstacle(decision, version, aliases)
        if obstacle:
            return obstacle
        moved = {CHAMPION: version}
        if decision.action is Action.PROMOTE and decision.previous is not None:
            moved[PREVIOUS] = decision.previous
            self._registry.set_alias(model, PREVIOUS, decision.previous)
        if aliases.pop(CANARY, None) is not None:
            self._registry.remove_alias(model, CANARY)
        self._registry.set_alias(model, CHAMPION, version)
        stay = {alias: held for alias, held in aliases.items() if alias != CHALLENGER}
        self._publisher.publish(model, {**stay, **moved})
        if decision.action is Action.ROLL_BACK and PREVIOUS in aliases:
            self._registry.remove_alias(model, PREVIOUS)
        if CHALLENGER in aliases:
            self._registry.remove_alias(model, CHALLENGER)
        return ""

    def split(self, decision: Decision) -> str:
        """Give a version its share beside the champion, or end that, and tell the servers.

        Returns and repeats like :meth:`move`. The share is set before the alias, so that the
        canary never serves with that of an earlier time.
        """
        model, version = decision.model, decision.version
        if decision.action is Action.END_CANARY:
            self._registry.remove_alias(model, CANARY)
        elif version is not None:
            aliases = self._registry.aliases(model)
            if aliases.get(CHAMPION) == version:
                return f"version {version} is champion now"
            obstacle = self._obstacle(decision, version, aliases)
            if obstacle:
                return obstacle
            self._registry.set_tag(model, version, CANARY_PERCENT, f"{decision.percent!r}")
            self._registry.set_alias(model, CANARY, version)
        self._publisher.publish(model)
        return ""

    def _obstacle(self, decision: Decision, version: int, aliases: dict[str, int]) -> str:
        """Why the champion cannot be moved as decided; empty if it can, or was."""
        champion = aliases.get(CHAMPION)
        if champion not in (decision.previous, version):
            now = "no version" if champion is None else f"version {champion}"
            return f"{now} is champion, and when this was decided {decision.previous} was"
        try:
            if version not in aliases.values():  # an alias ends with its version
                self._registry.version(decision.model, version)
            self._registry.bundle_folder(decision.model, version)
        except NotFoundError as error:
            return str(error)
        return ""


def champion_of(registry: Registry, model: str) -> int | None:
    """The version that has the alias ``champion``; None if none has."""
    return registry.aliases(model).get(CHAMPION)
