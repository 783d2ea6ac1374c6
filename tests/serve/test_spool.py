"""A server whose disk takes nothing goes on answering, and /readyz says what becomes of records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.serve.conftest import Served

from gyroscope.prediction_log import FileLog
from gyroscope.prediction_log.spool import WhenFull
from gyroscope.serve import endpoints
from gyroscope.serve.app import create_app
from gyroscope.serve.logs import Spooling


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gyroscope.prediction_log.spool._TRY_S", 0.0)


def served(state: Path, *, size: int = 10**6, when_full: WhenFull = "refuse") -> Served:
    spooling = Spooling(root=state / "spool" / "mine", bytes=size, when_full=when_full)
    return Served(create_app(state, spooling=spooling))


def take_away(state: Path) -> None:
    (state / "log").write_text("in the way of the folder")


def test_predictions_are_answered_and_go_home_when_the_disk_is_back(state: Path) -> None:
    take_away(state)
    with served(state) as server:
        assert server.predict().status_code == 200
        ready = server.get("/readyz")
        assert ready.status_code == 200
        [warning] = ready.json()["warnings"]
        assert "the log of model churn cannot be written: Not a directory; records go to" in warning
        (state / "log").unlink()
        assert server.get("/readyz").json()["warnings"] == []
        assert len(FileLog(state / "log" / "churn").read().predictions) == 1


def test_a_full_spool_refuses_and_the_server_is_not_ready(state: Path) -> None:
    take_away(state)
    with served(state, size=1) as server:
        assert server.predict().status_code == 200
        refused = server.predict()
        assert refused.status_code == 503
        assert "nothing was stored" in refused.json()["error"]["message"]
        ready = server.get("/readyz")
        assert ready.status_code == 503
        assert "the spool is full" in ready.json()["problems"][0]


def test_a_full_spool_serves_unlogged_if_told_so_and_says_it(state: Path) -> None:
    take_away(state)
    with served(state, size=1, when_full="serve") as server:
        assert [server.predict().status_code for _ in range(3)] == [200, 200, 200]
        ready = server.get("/readyz")
        assert ready.status_code == 200
        assert any("2 records of model churn were served" in w for w in ready.json()["warnings"])


def test_a_correction_counts_though_the_clock_was_set_back(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SetBack(datetime):
        """A clock that is an hour slow from now on."""

        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) - timedelta(hours=1)

    with served(state) as server:
        prediction_id = server.predict().json()["prediction_id"]
        for label in ("no", "yes"):
            body = {"labels": [{"prediction_id": prediction_id, "label": label}]}
            assert server.label(body).status_code == 200
            monkeypatch.setattr(endpoints, "datetime", SetBack)
        log = FileLog(state / "log" / "churn")
        (counted,) = log.read().labels
        assert counted is not None
        assert counted.label == "yes"
        assert len(log.arrivals(prediction_id)) == 2
