"""Tells the decisions of the pilot as they are made."""

from __future__ import annotations

from rich.console import Console

from gyroscope.decisions import Action, Recorded, Status
from gyroscope.store.base import Store

_LOOKS = {
    Action.QUARANTINE: ("quarantine", "bold yellow"),
    Action.RELEASE: ("released", "green"),
    Action.NOTICE: ("notice", "cyan"),
    Action.ALARM: ("ALARM", "bold red"),
    Action.RESOLVE: ("resolved", "green"),
    Action.RETRAIN: ("retraining", "bold blue"),
    Action.START_TRIAL: ("trial", "bold blue"),
    Action.PROMOTE: ("promoted", "bold green"),
    Action.REJECT: ("rejected", "yellow"),
    Action.CONFIRM: ("confirmed", "green"),
    Action.ROLL_BACK: ("ROLLED BACK", "bold red"),
}
_UNTOLD_NOTICES = 3  # a line for each notice up to here; the rest are counted


class Narrator:
    """Prints each decision once, when it has been carried out."""

    def __init__(self, store: Store, model: str, out: Console) -> None:
        self._store, self._model, self._out = store, model, out
        self._told = {recorded.decision.id for recorded in store.decisions(model)}
        self._notices = 0

    def catch_up(self) -> None:
        """Tell what has been decided since the last call."""
        for recorded in self._store.decisions(self._model):
            under_way = recorded.status in (Status.DECIDED, Status.ACTING)
            if recorded.decision.id not in self._told and not under_way:
                self._told.add(recorded.decision.id)
                self._tell(recorded)

    def say(self, when: str, what: str, style: str = "magenta") -> None:
        """A line about the world outside."""
        self._out.print(f"[dim]{when:<11}[/][{style}]{'the world':<13}[/]{what}")

    def _tell(self, recorded: Recorded) -> None:
        decision = recorded.decision
        if decision.action is Action.NOTICE:
            self._notices += 1
            if self._notices > _UNTOLD_NOTICES:
                return
        word, style = _LOOKS.get(decision.action, (str(decision.action), "white"))
        note = "" if recorded.status is Status.DONE else f" ({recorded.status})"
        self._out.print(
            f"[dim]{decision.at:%Y-%m-%d} [/][{style}]{word + note:<13}[/]{decision.reason}"
        )
        if self._notices == _UNTOLD_NOTICES and decision.action is Action.NOTICE:
            self._out.print(f"{'':<24}[dim]further notices are in the report[/]")
