"""The process of the pilot, here in a thread."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, cast

import pytest

from gyroscope.bundle.deployment import Deployment
from gyroscope.config import FILE
from gyroscope.errors import GyroscopeError
from gyroscope.loop.fly import fly
from gyroscope.loop.pilot import Pilot
from gyroscope.loop.world import World
from gyroscope.testing.small_workspace import MODEL, register, serve
from gyroscope.testing.waiting import wait_for
from gyroscope.testing.worlds import CALM, day, tiny_bundle


class Troubled:
    """A pilot that meets an error at each of its turns."""

    model = "troubled"

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.turns = 0

    def tick(self, *, look_at_registry: bool) -> bool:
        self.turns += 1
        raise self.error


@pytest.fixture
def start(world: World) -> Iterator[Callable[..., Future[bool]]]:
    """Starts to fly in a thread, which is stopped in the end; its result when it has landed."""
    stopping = threading.Event()
    with ThreadPoolExecutor(1) as threads:

        def fly_with(*pilots: Any) -> Future[bool]:
            return threads.submit(fly, world, cast("list[Pilot]", list(pilots)), stopping)

        yield fly_with
        stopping.set()


def test_an_alias_moved_elsewhere_reaches_the_servers(
    world: World, start: Callable[..., Future[bool]]
) -> None:
    deployment = Deployment(world.config.state / "serving" / MODEL)
    start(Pilot(world, MODEL))
    other = register(world, tiny_bundle(noise=0.1))
    world.registry.set_alias(MODEL, "champion", other)

    def deployed() -> int | None:
        found = deployment.read()
        return None if found is None else found.champion.version

    wait_for(lambda: deployed() == other)
    wait_for(lambda: world.store.care(MODEL).champion == other)
    assert "pilot" in world.store.heartbeats()


@pytest.mark.parametrize("error", [GyroscopeError("the log is damaged"), ZeroDivisionError("0")])
def test_an_error_met_by_one_model_holds_up_no_other(
    world: World,
    start: Callable[..., Future[bool]],
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    troubled = Troubled(error)
    serve(world, CALM.events(0, 3))
    start(troubled, Pilot(world, MODEL))
    wait_for(lambda: world.store.care(MODEL).closed_until == day(2).start)
    assert troubled.turns == 1  # and not again at once
    assert "troubled: " in caplog.text


def test_new_settings_end_the_flight_and_broken_ones_do_not(
    world: World, start: Callable[..., Future[bool]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    landed = start(Pilot(world, MODEL))
    path = world.config.root / FILE
    whole = path.read_text()
    wait_for(world.store.heartbeats)
    path.write_text("models: [")
    wait_for(lambda: "going on with the settings as they were" in caplog.text)
    assert not landed.done()
    path.write_text(whole)
    assert landed.result(timeout=30) is True


def test_a_flight_that_is_stopped_ends_without_new_settings(world: World) -> None:
    stopping = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        landed = threads.submit(fly, world, [Pilot(world, MODEL)], stopping)
        wait_for(world.store.heartbeats)
        stopping.set()
        assert landed.result(timeout=30) is False


def test_a_workspace_without_models_can_be_flown_too(
    world: World, start: Callable[..., Future[bool]]
) -> None:
    assert not start().done()
    wait_for(world.store.heartbeats)
