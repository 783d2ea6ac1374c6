"""How long a version takes for a row, so that what takes long is not done on the event loop."""

from __future__ import annotations

import math
from weakref import WeakKeyDictionary

from gyroscope.bundle.bundle import Bundle
from gyroscope.serve.numbers import Wish

LONG_S = 0.005  # work expected to take longer leaves the event loop to other requests


class Pace:
    """Seconds that a row took the last time, by version and by what was to be explained."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Bundle, dict[Wish | None, float]] = WeakKeyDictionary()

    def note(self, bundle: Bundle, wish: Wish | None, n: int, seconds: float) -> None:
        """Remember what ``n`` rows took; from the thread of the event loop."""
        self._known.setdefault(bundle, {})[wish] = seconds / n

    def most_rows(self, bundle: Bundle, wish: Wish | None) -> float | None:
        """How many rows are not expected to take long; None if nothing is known yet."""
        known = self._known.get(bundle, {}).get(wish)
        if known is None:
            return None
        return LONG_S / known if known else math.inf  # the clock may be coarse

    def seconds(self, bundle: Bundle, wish: Wish | None, n: int) -> float | None:
        """How long ``n`` rows are expected to take; None if nothing is known yet."""
        known = self._known.get(bundle, {}).get(wish)
        return None if known is None else n * known
