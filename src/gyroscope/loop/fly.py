"""The process of the pilot: turns for every model, and the servers' copy of the aliases."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from gyroscope.config import FILE, load_config
from gyroscope.errors import GyroscopeError, UsageError
from gyroscope.loop.pilot import Pilot
from gyroscope.loop.upkeep import Upkeep
from gyroscope.loop.world import World
from gyroscope.registry.changes import DatabaseChanges

_SHORTEST_IDLE_S, _LONGEST_IDLE_S = 0.02, 2.0  # between turns of a model without work, doubling
_RETRY_S = 30.0  # until a model that met an error has its next turn
_LOOK_S = 0.25  # between two looks for alias moves and for new settings
_BEAT_S = 5.0  # between two signs of life
_PUBLISH_S, _PUBLISH_AGAIN_S = 10.0, 2.0  # between looks without a sign of change; after an error

_log = logging.getLogger("gyroscope.pilot")


def fly(
    world: World, pilots: Sequence[Pilot], stopping: threading.Event, upkeep: Upkeep | None = None
) -> bool:
    """Give every model its turns until told to stop, or until the settings file has changed.

    An error holds up only its own model, which is tried again later. The prediction logs are kept
    up meanwhile, unless ``upkeep`` is None.

    Returns:
        Whether the settings have changed, to others that can be used.
    """
    settings = _SettingsFile(world.config.root)
    turns = [_Turn(pilot) for pilot in pilots]
    aliases = DatabaseChanges(world.registry_file)
    ended = threading.Event()
    publisher = threading.Thread(
        target=publish_until, args=(ended, world, [p.model for p in pilots]), name="publisher"
    )
    publisher.start()
    beat_at = 0.0
    try:
        while not stopping.is_set() and not settings.changed():
            if time.monotonic() >= beat_at:
                world.store.beat("pilot")
                beat_at = time.monotonic() + _BEAT_S
            if upkeep is not None:
                upkeep.look()
            moved = aliases.any()
            for turn in turns:
                if not stopping.is_set():
                    turn.take_if_due(moved)
            next_due = min((turn.due for turn in turns), default=time.monotonic() + _LOOK_S)
            stopping.wait(min(_LOOK_S, max(0.0, next_due - time.monotonic())))
    finally:
        ended.set()
        publisher.join()
        if upkeep is not None:
            upkeep.close()
        aliases.close()
    return not stopping.is_set()


class _Turn:
    """One model's turns: at once after work, ever later without, much later after an error."""

    def __init__(self, pilot: Pilot) -> None:
        self._pilot = pilot
        self._idle_s = _SHORTEST_IDLE_S
        self._aliases_moved = True  # since the last turn that went well
        self.due = 0.0  # in the clock of time.monotonic

    def take_if_due(self, aliases_moved: bool) -> None:
        self._aliases_moved |= aliases_moved
        if time.monotonic() < self.due:
            return
        pause = _RETRY_S
        try:
            worked = self._pilot.tick(look_at_registry=self._aliases_moved)
        except GyroscopeError as error:
            _log.warning("%s: %s; trying again in %.0f s", self._pilot.model, error, pause)
        except Exception:  # noqa: BLE001  a defect met by one model may not ground the others
            _log.exception("%s: trying again in %.0f s", self._pilot.model, pause)
        else:
            self._aliases_moved = False
            self._idle_s = _SHORTEST_IDLE_S if worked else min(2 * self._idle_s, _LONGEST_IDLE_S)
            pause = 0.0 if worked else self._idle_s
        self.due = time.monotonic() + pause


class _SettingsFile:
    """Tells whether ``gyroscope.yaml`` was changed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen = self._written_at()

    def changed(self) -> bool:
        """Whether there are new settings; those that cannot be used are only warned of."""
        written = self._written_at()
        if written in (None, self._seen):
            return False
        self._seen = written
        try:
            load_config(self._root)
        except UsageError as error:
            _log.warning("%s; going on with the settings as they were", error)
            return False
        return True

    def _written_at(self) -> int | None:
        try:
            return (self._root / FILE).stat().st_mtime_ns
        except OSError:
            return None  # it is being replaced


def publish_until(ended: threading.Event, world: World, models: Sequence[str]) -> None:
    """Publish alias moves, also those made elsewhere, until told to stop."""
    changes = DatabaseChanges(world.registry_file)
    due = 0.0
    while not ended.wait(_LOOK_S):
        if changes.any() or time.monotonic() >= due:
            failed = [model for model in models if not _published(world, model)]
            due = time.monotonic() + (_PUBLISH_AGAIN_S if failed else _PUBLISH_S)
    changes.close()


def _published(world: World, model: str) -> bool:
    try:
        world.publisher.publish(model)
    except (GyroscopeError, OSError) as error:
        _log.warning("%s: not published: %s", model, error)
        return False
    except Exception:  # noqa: BLE001  the thread has to live on
        _log.exception("%s: not published", model)
        return False
    return True


def stop_event() -> threading.Event:
    """An event that SIGTERM and SIGINT set; call it from the main thread."""
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping
