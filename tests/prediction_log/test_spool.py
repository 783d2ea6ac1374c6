"""While the disk of a log takes nothing records wait in the spool, and go home once it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from gyroscope.errors import LogError, UnwritableError
from gyroscope.prediction_log import FileLog
from gyroscope.prediction_log.compaction import compact
from gyroscope.prediction_log.erasure import complete_erasure, order_erasure
from gyroscope.prediction_log.spool import SpooledLog, WhenFull, carry_home
from gyroscope.testing.prediction_log import label, prediction


class Places:
    """A log whose disk can be taken away, and its spool."""

    def __init__(self, root: Path) -> None:
        self.log, self.spool = root / "log" / "churn", root / "spool" / "mine" / "churn"

    def fail(self) -> None:
        """A file stands where the folder of the log should be."""
        self.log.parent.mkdir(exist_ok=True)
        if self.log.exists():
            self.log.rename(self.log.with_name("away"))
        self.log.write_text("not a folder")

    def mend(self) -> None:
        """The folder is there again, as it was."""
        self.log.unlink()
        if self.log.with_name("away").exists():
            self.log.with_name("away").rename(self.log)

    def ids(self) -> list[str]:
        log = FileLog(self.log)
        found = [p.id for p in log.read().predictions]
        assert len(log.times()) == len(found)  # nothing is doubled
        log.close()
        return found


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setattr("gyroscope.prediction_log.spool._TRY_S", 0.0)
    return Places(tmp_path)


def spooled(places: Places, *, size: int = 10**6, when_full: WhenFull = "refuse") -> SpooledLog:
    return SpooledLog(places.log, places.spool, spool_bytes=size, when_full=when_full)


def test_appends_go_on_in_the_spool_and_then_at_home(places: Places) -> None:
    before = FileLog(places.log)
    before.append([prediction("a", hour=0)])
    before.close()
    places.fail()
    log = spooled(places)
    log.append([prediction("b", hour=1)])
    log.append_labels([label("a", "yes")])
    state = log.state()
    assert "make it a folder" in state.reason
    assert state.spooled_bytes > 0
    assert not state.is_full
    places.mend()
    log.append([prediction("c", hour=2)])
    assert places.ids() == ["a", "b", "c"]
    assert [x.label for x in FileLog(places.log).arrivals("a")] == ["yes"]
    assert log.state().spooled_bytes == 0
    assert log.state().reason == ""


def test_ids_in_the_spool_are_known(places: Places) -> None:
    before = FileLog(places.log)
    before.append([prediction("a")])
    places.fail()
    log = spooled(places)
    log.append([prediction("b")])
    places.mend()
    assert log.known(["a", "b", "c"]) == {"a", "b"}


def test_a_full_spool_refuses_and_takes_records_again_when_emptied(places: Places) -> None:
    log = spooled(places, size=1)
    places.fail()
    log.append([prediction("a", hour=0)])
    with pytest.raises(UnwritableError, match="takes no more either, so nothing was acknowledged"):
        log.append([prediction("b", hour=1)])
    assert log.state().is_full
    places.mend()
    log.append([prediction("c", hour=2)])
    assert places.ids() == ["a", "c"]
    assert not log.state().is_full


def test_a_full_spool_serves_unlogged_and_counts_if_told_so(places: Places) -> None:
    log = spooled(places, size=1, when_full="serve")
    places.fail()
    log.append([prediction("a")])
    log.append([prediction("b"), prediction("c")])
    log.append_labels([label("a")])
    assert log.state().unlogged == 3
    places.mend()
    assert log.state().unlogged == 3
    assert places.ids() == ["a"]


def test_without_room_for_a_spool_appends_are_refused_at_once(places: Places) -> None:
    log = spooled(places, size=0)
    places.fail()
    with pytest.raises(UnwritableError):
        log.append([prediction("a")])


def test_a_value_that_cannot_be_logged_is_refused_and_not_spooled(places: Places) -> None:
    with pytest.raises(LogError, match="prediction 'a' cannot be logged"):
        spooled(places).append([prediction("a", row={"text": "\ud800"})])
    assert not places.spool.exists()


def test_the_next_server_carries_home_what_the_last_one_left(places: Places) -> None:
    places.fail()
    log = spooled(places)
    log.append([prediction("a", hour=0)])
    log.close()
    places.mend()
    log = spooled(places)
    log.append([prediction("b", hour=1)])
    assert places.ids() == ["a", "b"]


def test_a_move_cut_short_is_made_good(places: Places) -> None:
    log = FileLog(places.spool)
    log.append([prediction("a")])
    (segment,) = places.spool.iterdir()
    places.log.mkdir(parents=True)
    (places.log / segment.name).write_bytes(segment.read_bytes())  # killed before the end
    (places.log / f".{segment.name}.partial").write_bytes(b"half")  # and another before that
    compact(places.log, spool=places.spool)
    carry_home(places.spool, places.log)
    assert places.ids() == ["a"]
    assert not [path for path in places.log.iterdir() if path.is_file()]
    log.append([prediction("b")])  # by the server, which had the segment open
    carry_home(places.spool, places.log)
    assert places.ids() == ["a", "b"]


def test_an_erasure_reaches_the_spool(places: Places) -> None:
    places.fail()
    log = spooled(places)
    log.append([prediction("a", entity="Ada"), prediction("b", entity="Bob")])
    places.mend()
    order_erasure(places.log, "Ada")
    done = complete_erasure(places.log, places.spool)
    assert done is not None
    assert done.predictions == 1
    assert not list(places.spool.iterdir())
    assert places.ids() == ["b"]


def test_a_spool_that_others_can_read_is_not_used(places: Places) -> None:
    places.spool.parent.mkdir(parents=True)
    places.spool.parent.chmod(0o755)
    log = spooled(places)
    places.fail()
    with pytest.raises(UnwritableError, match="nothing was acknowledged"):
        log.append([prediction("a", row={"name": "Ada"})])
    assert not places.spool.exists()


def test_a_refusal_of_the_first_append_leaves_a_reason(places: Places) -> None:
    places.fail()
    log = spooled(places)
    log.append([prediction("a")])
    assert "cannot be written" in log.state().reason


def test_a_spool_that_cannot_be_looked_into_is_not_taken_for_an_empty_one(places: Places) -> None:
    places.fail()
    log = spooled(places)
    log.append([prediction("a", hour=0)])
    places.mend()
    away = places.spool.rename(places.spool.with_name("away"))
    places.spool.write_text("not a folder")
    with pytest.raises(NotADirectoryError):
        carry_home(places.spool, places.log)
    log.append([prediction("b", hour=1)])  # the log itself takes records
    assert "Not a directory" in log.state().reason
    assert places.ids() == ["b"]
    places.spool.unlink()
    away.rename(places.spool)
    assert log.state().reason == ""
    assert places.ids() == ["a", "b"]


def test_a_server_starts_beside_a_spool_that_cannot_be_looked_into(places: Places) -> None:
    places.spool.parent.mkdir(parents=True)
    places.spool.write_text("not a folder")
    log = spooled(places)
    log.append([prediction("a")])
    assert f"the spool in {places.spool} cannot be read" in log.state().reason
    log.close()
    places.fail()
    with pytest.raises(UnwritableError, match="takes no more either"):
        spooled(places).append([prediction("b")])
    places.mend()
    assert places.ids() == ["a"]
