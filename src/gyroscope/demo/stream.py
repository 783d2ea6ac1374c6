"""The world outside: flights asked about as they are planned, outcomes that come in late."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import date, timedelta

import numpy as np

from gyroscope.client import Client
from gyroscope.demo.flights import Flight

BATCH = 500  # rows a request
_NEXT_DAY, _WRONG = 0.9, 0.005  # shares of labels known the next day; and wrong at first


class Stream:
    """Sends flights of one day after the other to a server, and labels when they are due.

    Nine in ten labels come the next day, the rest a day later; one in two hundred is wrong at
    first and corrected a day later.
    """

    def __init__(self, client: Client, model: str, *, seed: int) -> None:
        self._client, self._model = client, model
        self._generator = np.random.default_rng(seed)
        self._due: dict[date, list[dict[str, object]]] = defaultdict(list)
        self.predictions = 0
        self.labels = 0

    def send(
        self, day: date, flights: Sequence[Flight], change: Callable[[Flight], Flight]
    ) -> None:
        """Send the labels that are due on ``day``, then its flights, each after ``change``."""
        due = self._due.pop(day, [])
        for start in range(0, len(due), BATCH):
            answer = self._client.label(self._model, due[start : start + BATCH])
            self.labels += int(answer["accepted"])
        changed = [change(flight) for flight in flights]
        for start in range(0, len(changed), BATCH):
            part = changed[start : start + BATCH]
            made = self._client.predict(self._model, [flight.row for flight in part])
            self.predictions += len(made)
            for flight, prediction in zip(part, made, strict=True):
                self._remember(day, flight, str(prediction["prediction_id"]))

    def _remember(self, day: date, flight: Flight, prediction_id: str) -> None:
        known = day + timedelta(days=1 if self._generator.random() < _NEXT_DAY else 2)
        if self._generator.random() < _WRONG:
            self._due[known].append(_label(prediction_id, not flight.late))
            known += timedelta(days=1)
        self._due[known].append(_label(prediction_id, flight.late))


def _label(prediction_id: str, late: bool) -> dict[str, object]:
    return {"prediction_id": prediction_id, "label": "yes" if late else "no"}
