"""The pilot has the log compacted, old records removed and erasures completed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from gyroscope.decisions import Action, Status
from gyroscope.errors import LogError
from gyroscope.loop.logged import labelled_rows, records_of
from gyroscope.loop.manual import erase
from gyroscope.loop.upkeep import Upkeep, keep_up
from gyroscope.loop.verification import replay_scores
from gyroscope.loop.world import World
from gyroscope.testing.small_workspace import MODEL, serve
from gyroscope.testing.worlds import CALM, CONTRACT


def files(world: World) -> set[str]:
    return {path.suffix for path in world.log_folder(MODEL).rglob("*") if path.is_file()}


def test_a_compacted_log_trains_and_replays_as_before(world: World) -> None:
    serve(world, CALM.events(0, 2))
    before = labelled_rows(world.log(MODEL), CONTRACT, None)
    replayed = replay_scores(world, MODEL)
    assert keep_up(world, MODEL).rows == 800
    assert files(world) == {".parquet"}
    after = labelled_rows(world.log(MODEL), CONTRACT, None)
    assert after.X.tobytes() == before.X.tobytes()
    assert after.y.tobytes() == before.y.tobytes()
    assert replay_scores(world, MODEL) == replayed


def test_records_stay_for_ever_or_as_long_as_the_setting_says(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    serve(world, CALM.events(0, 5))
    assert keep_up(world, MODEL).expired_files == 0
    world = make_world(keep_log="2d")
    assert keep_up(world, MODEL).expired_files > 0
    span = world.log(MODEL).span()
    assert span is not None
    assert timedelta(days=1) < span.length < timedelta(days=4)


def test_an_erasure_is_on_record_without_whose_records_they_were(world: World) -> None:
    serve(world, CALM.events(0, 1))
    subject = world.log(MODEL).read().predictions[3].id
    assert len(records_of(world.log(MODEL), subject)) == 1
    erased = erase(world, MODEL, subject, actor="Grace", reason="asked by letter")
    assert (erased.predictions, erased.labels) == (1, 1)
    assert records_of(world.log(MODEL), subject) == []
    recorded = world.store.decisions(MODEL)[-1]
    assert recorded.decision.action is Action.ERASE
    assert (recorded.decision.actor, recorded.status) == ("Grace", Status.DONE)
    assert subject not in str(recorded)
    assert world.store.verify_chain() > 0
    assert replay_scores(world, MODEL).different == 0


def test_an_erasure_cut_short_is_completed_by_the_next_who_acts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(world, CALM.events(0, 1))
    subject = world.log(MODEL).read().predictions[3].id

    def fail(*_: object) -> None:
        raise LogError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("gyroscope.prediction_log.erasure.complete_erasure", fail)
        with pytest.raises(LogError):
            erase(world, MODEL, subject, actor="Grace", reason="asked by letter")
    keep_up(world, MODEL)
    assert records_of(world.log(MODEL), subject) == []


def test_the_pilot_starts_a_process_when_it_is_due_and_not_before(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = (sys.executable, "-c", f"open({str(trace)!r}, 'a').write('x')")
    never = Upkeep(command, timedelta(hours=1))
    never.look()
    never.close()
    assert not trace.exists()
    often = Upkeep(command, timedelta(0))
    while not trace.exists():
        often.look()
        time.sleep(0.01)
    often.close()


def test_a_process_that_fails_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    failing = Upkeep((sys.executable, "-c", "raise SystemExit('no space')"), timedelta(0))
    while not caplog.records:
        failing.look()
        time.sleep(0.01)
    failing.close()
    assert "could not be compacted (exit code 1): no space" in caplog.records[0].message
