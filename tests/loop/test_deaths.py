"""Killed before any of its steps, the loop ends where it would have ended alive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("mortal.py")
BY_THE_PILOT = {  # what happens at least
    "promotion": ("promote", "retrain", "start trial", "promote"),
    "rollback": ("promote", "promote", "roll back"),
    "drift": ("promote", "retrain", "start trial", "promote"),
    "fault": ("promote", "quarantine", "quarantine", "release"),
    "alias moved in MLflow": ("promote",),
    "bad canary": ("promote", "canary", "end canary"),
}
BY_HAND = (
    "promotion by hand during a retraining",
    "rollback by hand",
    "canary by hand",
    "end of a canary by hand",
    "promotion of a canary by hand",
    "retraining by hand",
    "pause",
)


def lives(folder: Path, *scenario: str) -> list[dict[str, Any]]:
    """What the world looks like after each life of a scenario; see ``mortal.py``."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder), *scenario],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def deeds(outcome: dict[str, Any]) -> list[str]:
    """What was decided, without alarms and notices; all of it must have come to an end."""
    assert {status for _, status, *_ in outcome["decisions"]} == {"done"}
    assert outcome["care"]["champion"] == outcome["aliases"]["champion"]
    return [action for action, *_ in outcome["decisions"] if action not in ("alarm", "notice")]


def check_by_hand(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    """Only a death before anything was on record may leave no trace."""
    first, *others = outcomes
    assert deeds(first) != deeds(others[-1])
    assert others == others[-1:] * len(others)
    assert others[-1]["deployed"][0] == others[-1]["aliases"]["champion"]
    return others[-1]


@pytest.mark.slow
def test_a_promotion_by_hand_is_finished_or_was_never_begun(tmp_path: Path) -> None:
    alive = check_by_hand(lives(tmp_path, "promotion by hand"))
    assert deeds(alive) == ["promote", "promote"]
    assert alive["aliases"] == {"champion": 2, "previous": 1}
    assert alive["deployed"] == [2, 1]
    assert alive["care"]["state"] == "probation"


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", BY_HAND)
def test_what_people_decide_is_finished_or_was_never_begun(scenario: str, tmp_path: Path) -> None:
    check_by_hand(lives(tmp_path, scenario, "again"))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", BY_THE_PILOT)
def test_a_pilot_killed_anywhere_ends_as_one_that_lived(scenario: str, tmp_path: Path) -> None:
    outcomes = lives(tmp_path, scenario, "again")
    assert deeds(outcomes[0])[: len(BY_THE_PILOT[scenario])] == list(BY_THE_PILOT[scenario])
    assert outcomes == outcomes[:1] * len(outcomes)
