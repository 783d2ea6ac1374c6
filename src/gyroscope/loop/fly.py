"""The process of the pilot: ticks of every model, and the servers' copy of the aliases."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from gyroscope.errors import GyroscopeError
from gyroscope.loop.pilot import Pilot
from gyroscope.loop.world import World
from gyroscope.registry.publisher import Publisher

_SHORTEST_IDLE_S, _LONGEST_IDLE_S = 0.02, 1.0  # between rounds without work, doubling
_PUBLISH_S = 0.5  # between two looks at the registry: a move is served well within 2 s
_RETRY_S = 30.0  # until a model that met an error has its next turn

_log = logging.getLogger("gyroscope.pilot")


def fly(world: World, pilots: Sequence[Pilot], config_file: Path) -> None:
    """Give every model its turns until SIGTERM, SIGINT or a change of ``config_file``.

    An error that Gyroscope knows about holds up only its own model, which is tried again later.
    """
    stopping = stop_event()
    threading.Thread(
        target=publish_until,
        args=(stopping, world.publisher, [pilot.model for pilot in pilots]),
        daemon=True,
        name="publisher",
    ).start()
    written = config_file.stat().st_mtime_ns
    due = dict.fromkeys((pilot.model for pilot in pilots), 0.0)
    for pilot in pilots:
        pilot.recover()
    idle = _SHORTEST_IDLE_S
    while not stopping.is_set() and config_file.stat().st_mtime_ns == written:
        world.store.beat("pilot")
        worked = [_turn(pilot, due) for pilot in pilots if due[pilot.model] <= time.monotonic()]
        idle = _SHORTEST_IDLE_S if any(worked) else min(2 * idle, _LONGEST_IDLE_S)
        if not any(worked):
            stopping.wait(idle)
    stopping.set()


def _turn(pilot: Pilot, due: dict[str, float]) -> bool:
    try:
        return pilot.tick()
    except GyroscopeError as error:
        due[pilot.model] = time.monotonic() + _RETRY_S
        _log.warning("%s: %s; trying again in %.0f s", pilot.model, error, _RETRY_S)
        return False


def publish_until(stopping: threading.Event, publisher: Publisher, models: Sequence[str]) -> None:
    """Publish alias moves, also those made elsewhere, until told to stop."""
    while not stopping.is_set():
        for model in models:
            try:
                publisher.publish(model)
            except GyroscopeError as error:
                _log.warning("%s: not published: %s", model, error)
        stopping.wait(_PUBLISH_S)


def stop_event() -> threading.Event:
    """An event that SIGTERM and SIGINT set; call it from the main thread."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping
