"""The demonstration: a model lives through six weeks of 2013 in about a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from gyroscope.app import Workspace
from gyroscope.config import MODEL_SETTINGS, Settings
from gyroscope.data.training_set import load_snapshot
from gyroscope.decisions import Action, Decision, Status
from gyroscope.demo.flights import (
    Flight,
    after_the_change,
    as_flights,
    between,
    days,
    in_metres,
    midnight,
)
from gyroscope.demo.narrator import Narrator
from gyroscope.demo.scenes import MODEL, SEED, SETTINGS, Calendar
from gyroscope.demo.stream import Stream
from gyroscope.errors import GyroscopeError
from gyroscope.findings import Kind
from gyroscope.loop.manual import promote
from gyroscope.loop.training import BASE_SNAPSHOT, contract_of, make_pipeline
from gyroscope.train.pipeline import Task

PERSON = "you"
_PILOT_S = 120.0  # the pilot has caught up by then, or something is wrong
_LOOK_S = 0.02
_DAY = timedelta(days=1)
_RECENT = timedelta(days=28)  # that the bad version is trained on
EXPECTED: dict[str, Callable[[Decision], bool]] = {
    "alarm: broken data": lambda d: d.action is Action.ALARM and _about(d, Kind.DATA_QUALITY),
    "broken data quarantined": lambda d: d.action is Action.QUARANTINE,
    "clean data released": lambda d: d.action is Action.RELEASE,
    "alarm: performance lost": lambda d: d.action is Action.ALARM and _about(d, Kind.PERFORMANCE),
    "retraining": lambda d: d.action is Action.RETRAIN,
    "trial": lambda d: d.action is Action.START_TRIAL,
    "promotion on evidence": lambda d: d.action is Action.PROMOTE and d.actor == "autopilot",
    "bad version promoted by hand": lambda d: d.action is Action.PROMOTE and d.actor == PERSON,
    "bad version rolled back": lambda d: d.action is Action.ROLL_BACK and d.actor == "autopilot",
}


class Story:
    """Plays the calendar against a running server and tells what the pilot does."""

    def __init__(self, space: Workspace, stream: Stream, out: Console, calendar: Calendar) -> None:
        self._space, self._stream, self._calendar = space, stream, calendar
        self._out = out
        self._narrator = Narrator(space.store, MODEL, out)
        self._generator = np.random.default_rng(SEED)
        self.bad_version: int | None = None

    def play(self, flights: Any) -> None:
        """Stream every day, with its fault, change or bad version, and wait for the pilot."""
        with self._bar() as move:
            for day in days(*self._calendar.stream):
                self._announce(day)
                today = between(flights, day, day + _DAY)
                self._stream.send(day, as_flights(today), self._what_happens_to(day))
                if day == self._calendar.bad_version:
                    self._promote_bad_version(day)
                self._wait_for_pilot(day)
                move(f"{day}  {self._stream.predictions:,} predictions")
            self._narrator.catch_up()

    def _announce(self, day: date) -> None:
        calendar, say = self._calendar, self._narrator.say
        if day == calendar.fault[0]:
            say(str(day), "an upstream system begins to send distances in metres")
        if day == calendar.fault[1]:
            say(str(day), "the upstream system is repaired")
        if day == calendar.change:
            say(str(day), "works at the airports: mornings get late, evenings smooth")

    def _what_happens_to(self, day: date) -> Callable[[Flight], Flight]:
        broken = self._calendar.fault[0] <= day < self._calendar.fault[1]
        changed = day >= self._calendar.change

        def change(flight: Flight) -> Flight:
            flight = after_the_change(flight, self._generator) if changed else flight
            return in_metres(flight) if broken else flight

        return change

    def _promote_bad_version(self, day: date) -> None:
        """Train on inverted labels and promote the result past its failed gates."""
        world = self._space.world
        champion = world.registry.holder(MODEL, "champion")
        assert champion is not None  # the demonstration starts with one
        rows = load_snapshot(champion.tags["snapshot"], world.snapshots)
        recent = rows.take(rows.time >= midnight(day - _RECENT).timestamp())
        trained = make_pipeline(world, lambda step, detail: None).run(
            Task(
                model=MODEL,
                purpose="labels inverted on purpose",
                contract=contract_of(self._space.config.model(MODEL)),
                settings=Settings(
                    MODEL_SETTINGS, {**SETTINGS, "candidates": ["logistic_regression"]}, "demo"
                ),
                rows=msgspec.structs.replace(recent, y=1 - recent.y),
                tags={BASE_SNAPSHOT: champion.tags[BASE_SNAPSHOT], "purpose": "sabotage"},
            )
        )
        self.bad_version = trained.version.version
        self._narrator.say(
            str(day), f"somebody promotes version {self.bad_version}, trained on inverted labels"
        )
        promote(
            world,
            MODEL,
            self.bad_version,
            actor=PERSON,
            reason="a deliberately bad version, to see it caught",
        )

    def _wait_for_pilot(self, day: date) -> None:
        """Until the pilot has seen all that can be seen by the first flights of ``day``."""
        start, reached = midnight(self._calendar.stream[0]), midnight(day)
        deadline = time.monotonic() + _PILOT_S
        while True:
            self._narrator.catch_up()
            care = self._space.store.care(MODEL)
            closed, judged = care.closed_until or start, care.labelled_until or start
            if closed >= reached and judged >= reached - _DAY and care.job is None:
                return
            if time.monotonic() > deadline:
                log = self._space.state / "up.log"
                raise GyroscopeError(f"the pilot did not reach {day}; see {log}")
            time.sleep(_LOOK_S)

    @contextmanager
    def _bar(self) -> Iterator[Callable[[str], None]]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
        )
        total = len(days(*self._calendar.stream))
        with Progress(*columns, console=self._out, transient=True) as bar:
            task = bar.add_task("streaming", total=total)

            def move(words: str) -> None:
                bar.update(task, advance=1, description=words)

            yield move


def events(space: Workspace) -> dict[str, list[Decision]]:
    """The carried-out decisions for each thing that the demonstration is to show."""
    done = [
        r.decision for r in space.store.decisions(MODEL, limit=10_000) if r.status is Status.DONE
    ]
    return {what: [d for d in done if expected(d)] for what, expected in EXPECTED.items()}


def _about(decision: Decision, kind: Kind) -> bool:
    return any(finding.kind is kind for finding in decision.findings)


def report_path(folder: Path) -> Path:
    """Where the report of the demonstration goes."""
    return folder / "report.html"
