"""The pilot has the log compacted, old records removed and erasures completed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gyroscope.cli.commands import app
from gyroscope.decisions import Action, Status
from gyroscope.errors import LogError
from gyroscope.loop.locks import locked
from gyroscope.loop.logged import labelled_rows, records_of
from gyroscope.loop.manual import erase, pause
from gyroscope.loop.pilot import Pilot
from gyroscope.loop.upkeep import Upkeep, keep_up
from gyroscope.loop.verification import replay_scores
from gyroscope.loop.world import World
from gyroscope.prediction_log import FileLog, erasure
from gyroscope.prediction_log.erasure import order_erasure
from gyroscope.testing.prediction_log import prediction
from gyroscope.testing.small_workspace import MODEL, serve
from gyroscope.testing.worlds import CALM, CONTRACT


def raises(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def until_idle(pilot: Pilot) -> None:
    assert any(not pilot.tick() for _ in range(1000))


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


def test_an_erasure_that_cannot_be_completed_is_told_tried_again_and_grounds_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serve(world, CALM.events(0, 2))
    subject = world.log(MODEL).read().predictions[3].id
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "compact", raises(LogError("the disk is full")))
        with pytest.raises(LogError):
            erase(world, MODEL, subject, actor="Grace", reason="asked by letter")
        pilot = Pilot(world, MODEL)
        until_idle(pilot)
        assert world.store.care(MODEL).closed_until is not None, "windows are watched"
        pause(world, MODEL, actor="Grace", reason="wait")
        [waiting] = [r for r in world.store.decisions(MODEL) if r.status is not Status.DONE]
        assert (waiting.decision.action, waiting.status) == (Action.ERASE, Status.ACTING)
        assert waiting.note == "not complete yet, tried again: the disk is full"
        tried = [r.getMessage() for r in caplog.records if "not complete" in r.getMessage()]
        assert len(tried) == 2, "by the pilot, who then waits, and by the person"
    until_idle(pilot)
    assert len(records_of(world.log(MODEL), subject)) == 1, "it is not yet time to try again"
    monkeypatch.setattr("gyroscope.loop.actions._ERASE_AGAIN_S", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "compact", raises(ValueError("a defect")))
        Pilot(world, MODEL).tick()
    Pilot(world, MODEL).tick()
    assert records_of(world.log(MODEL), subject) == []
    assert world.store.decision(waiting.decision.id).status is Status.DONE
    assert world.store.verify_chain() > 0


def test_an_erasure_does_not_wait_for_a_compaction_before_the_watch_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(world, CALM.events(0, 1))
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "compact", raises(LogError("the disk is full")))
        with pytest.raises(LogError):
            erase(world, MODEL, "somebody", actor="Grace", reason="asked by letter")
    lock = world.config.state / "locks" / f"{MODEL}.log.lock"
    with locked(lock, wait_s=0, doing="compacting"):  # as a process whose pilot was killed
        Pilot(world, MODEL).tick()
    [waiting] = [r for r in world.store.decisions(MODEL) if r.status is not Status.DONE]
    assert "is compacting the log of model churn already" in waiting.note


def test_a_log_that_cannot_be_compacted_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = "".join(f"  {name}: {{data: rows.csv}}\n" for name in ("one", "two", "three"))
    Path("gyroscope.yaml").write_text(f"workspace:\nmodels:\n{lines}")
    for name in ("one", "two", "three"):
        log = FileLog(Path(".gyroscope/log") / name)
        log.append([prediction(f"of {name}")])
        log.close()
    order_erasure(Path(".gyroscope/log/two"), "somebody")
    Path(".gyroscope/log/two/erasing.json").write_text("{")
    ran = CliRunner().invoke(app, ["log", "compact", "--json"])
    assert ran.exit_code == 1
    told = json.loads(ran.stdout)
    assert told["one"]["rows"] == told["three"]["rows"] == 1
    assert "erasing.json, cannot be read" in told["two"]["error"]
    assert ran.stderr.startswith("gyro: two: the order of an erasure")
    Path(".gyroscope/log/two/erasing.json").unlink()
    ran = CliRunner().invoke(app, ["log", "compact"])
    assert ran.exit_code == 0
    assert "two: 1 record of 1 segment is in 1 Parquet file now" in ran.stdout


def looked_until(upkeep: Upkeep, true: Callable[[], bool]) -> None:
    """Look until something is true, for a minute at most."""
    for _ in range(6000):
        if true():
            break
        upkeep.look()
        time.sleep(0.01)
    upkeep.close()
    assert true(), "nothing came of it in a minute"


def test_the_pilot_starts_a_process_when_it_is_due_and_not_before(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = (sys.executable, "-c", f"open({str(trace)!r}, 'a').write('x')")
    never = Upkeep(command, timedelta(hours=1))
    never.look()
    never.close()
    assert not trace.exists()
    often = Upkeep(command, timedelta(0))
    looked_until(often, trace.exists)


def test_a_process_that_fails_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    failing = Upkeep((sys.executable, "-c", "raise SystemExit('no space')"), timedelta(0))
    looked_until(failing, lambda: bool(caplog.records))
    assert "could not be compacted (exit code 1): no space" in caplog.records[0].message
