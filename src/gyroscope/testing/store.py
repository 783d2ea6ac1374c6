"""What every control store must do: subclass :class:`StoreContract` in your tests.

class TestMyStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return MyStore(tmp_path)
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from gyroscope.decisions import Action, Care, Decision, Detector, State, Status, Trial
from gyroscope.errors import ConflictError, NotFoundError
from gyroscope.findings import Finding, Interval, Kind, Verdict, Window
from gyroscope.store.base import Job, JobStatus, Quarantine, Store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def day(number: int) -> Window:
    """The window of one day, ``number`` days after 1 March 2026."""
    start = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number)
    return Window(start, start + timedelta(days=1))


def finding(subject: str = "age", **fields: Any) -> Finding:
    """A finding for tests."""
    given = {
        "kind": Kind.COLUMN_DRIFT,
        "check": "psi",
        "subject": subject,
        "verdict": Verdict.NOTICE,
        "detail": "PSI 0.07 is surely above 0.05",
        "value": 0.07,
        "interval": Interval(0.06, 0.08),
    }
    return Finding(**{**given, **fields})


def decision(decision_id: str, **fields: Any) -> Decision:
    """A decision for tests."""
    given = {
        "model": "churn",
        "at": NOON,
        "action": Action.PROMOTE,
        "reason": "version 4 is better than version 3 by 0.012 nats",
        "findings": (finding(window=day(0)),),
        "version": 4,
        "previous": 3,
    }
    return Decision(id=decision_id, **{**given, **fields})


def job(job_id: str, **fields: Any) -> Job:
    """A job for tests."""
    given = {"model": "churn", "kind": "retrain", "arguments": {"days": 28}, "created": NOON}
    return Job(id=job_id, **{**given, **fields})


class _Contract:
    """What the parts of the contract share."""

    @pytest.fixture
    def store(self) -> Store:
        """An empty store."""
        raise NotImplementedError("override the fixture 'store'")

    @pytest.fixture
    def kept(self, store: Store) -> Iterator[Store]:
        """The store under test, closed in the end."""
        with closing(store):
            yield store


class CareContract(_Contract):
    """The state of a model, changed by compare-and-set."""

    def test_a_model_nobody_has_seen_is_learning(self, kept: Store) -> None:
        assert kept.care("churn") == Care(model="churn")

    def test_a_state_comes_back_as_it_was_saved(self, kept: Store) -> None:
        trial = Trial(candidate=4, incumbent=3, since=NOON, until=day(28).end, log_e=1.5, n=100)
        after = Care(
            model="churn",
            state=State.TRIAL,
            since=NOON,
            champion=3,
            noticed=("age", "plan"),
            trial=trial,
            retrained=(NOON,),
        )
        kept.save_care(Care(model="churn"), after)
        assert kept.care("churn") == after
        assert kept.care("fraud") == Care(model="fraud")

    def test_numbers_that_json_does_not_know_come_back(self, kept: Store) -> None:
        after = Care(model="churn", detector=Detector(log_value=float("-inf"), windows=3))
        kept.save_care(Care(model="churn"), after)
        assert kept.care("churn") == after
        kept.save_care(after, Care(model="churn", champion=1))
        assert kept.care("churn").champion == 1

    def test_a_state_that_moved_meanwhile_is_not_overwritten(self, kept: Store) -> None:
        fresh = kept.care("churn")
        kept.save_care(fresh, Care(model="churn", champion=1))
        with pytest.raises(ConflictError, match="the state of model churn was changed"):
            kept.save_care(fresh, Care(model="churn", champion=2))
        with pytest.raises(ConflictError, match="the state of model churn was changed"):
            kept.save_care(Care(model="churn", champion=7), Care(model="churn", champion=2))
        assert kept.care("churn").champion == 1

    def test_of_many_threads_that_change_a_state_each_change_counts_once(self, kept: Store) -> None:
        def add_one(_: int) -> None:
            while True:
                before = kept.care("churn")
                try:
                    after = msgspec.structs.replace(before, failures=before.failures + 1)
                    return kept.save_care(before, after)
                except ConflictError:
                    continue

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(add_one, range(40)))
        assert kept.care("churn").failures == 40


class ProfilesContract(_Contract):
    """Profiles of windows."""

    def test_a_profile_is_kept_once_for_each_window_and_version(self, kept: Store) -> None:
        kept.save_profile("churn", 1, day(0), b"one")
        kept.save_profile("churn", 1, day(2), b"\x00three")
        kept.save_profile("churn", 1, day(1), b"two")
        kept.save_profile("churn", 2, day(1), b"of another version")
        kept.save_profile("email", 1, day(1), b"of another model")
        kept.save_profile("churn", 1, day(1), b"two again")
        whole = Window(day(0).start, day(2).end)
        assert kept.profiles("churn", 1, whole) == [
            (day(0), b"one"),
            (day(1), b"two again"),
            (day(2), b"\x00three"),
        ]
        assert kept.profiles("churn", 1, Window(day(0).start, day(1).end))[-1][0] == day(1)
        assert kept.profiles("churn", 3, whole) == []


class FindingsContract(_Contract):
    """Findings, quarantines and heartbeats."""

    def test_findings_come_back_oldest_first_and_by_model(self, kept: Store) -> None:
        kept.add_findings("churn", day(1), [finding("age"), finding("plan")])
        kept.add_findings("churn", day(0), [finding("tenure", value=None, window=day(0))])
        kept.add_findings("fraud", day(0), [finding("amount")])
        found = kept.findings("churn")
        assert [f.subject for f in found] == ["tenure", "age", "plan"]
        assert found[0] == finding("tenure", value=None, window=day(0))

    def test_findings_may_be_asked_for_since_a_time_or_the_newest_few(self, kept: Store) -> None:
        for number in range(5):
            kept.add_findings("churn", day(number), [finding(f"column {number}")])
        since = kept.findings("churn", since=day(3).start)
        assert [f.subject for f in since] == ["column 3", "column 4"]
        assert [f.subject for f in kept.findings("churn", limit=1)] == ["column 4"]

    def test_a_restarted_loop_adds_the_same_findings_once(self, kept: Store) -> None:
        kept.add_findings("churn", day(0), [finding("age"), finding("plan")])
        kept.add_findings("churn", day(0), [finding("age"), finding("plan")])
        kept.add_findings("churn", day(0), [])
        assert [f.subject for f in kept.findings("churn")] == ["age", "plan"]

    @pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e-320, -0.0])
    def test_odd_numbers_in_a_finding_come_back(self, kept: Store, value: float) -> None:
        kept.add_findings("churn", day(0), [finding(e_value=value)])
        assert kept.findings("churn") == [finding(e_value=value)]

    def test_the_same_quarantine_twice_is_one(self, kept: Store) -> None:
        given = [
            Quarantine(model="churn", window=day(n), reason="age in months", decision_id="q-1")
            for n in (1, 0, 1)
        ]
        for quarantine in given:
            kept.add_quarantine(quarantine)
        assert kept.quarantines("churn") == [given[1], given[0]]
        assert kept.quarantines("fraud") == []

    def test_times_of_any_zone_come_back_in_utc(self, kept: Store) -> None:
        zone = timezone(timedelta(hours=5, minutes=30))
        window = Window(day(0).start.astimezone(zone), day(0).end.astimezone(zone))
        kept.add_quarantine(
            Quarantine(model="churn", window=window, reason="stale", decision_id="q-1")
        )
        (kept_one,) = kept.quarantines("churn")
        assert kept_one.window == day(0)
        assert kept_one.window.start.utcoffset() == timedelta(0)

    def test_a_process_that_beats_is_heard(self, kept: Store) -> None:
        assert kept.heartbeats() == {}
        kept.beat("pilot")
        first = kept.heartbeats()["pilot"]
        assert first.tzinfo is not None
        kept.beat("pilot")
        kept.beat("api")
        assert kept.heartbeats().keys() == {"pilot", "api"}
        assert kept.heartbeats()["pilot"] >= first


class DecisionsContract(_Contract):
    """Decisions on record, their statuses and their chain."""

    def test_a_decision_is_on_record_before_anything_is_done(self, kept: Store) -> None:
        recorded = kept.record(decision("p-1"))
        assert recorded.decision == decision("p-1")
        assert recorded.status is Status.DECIDED
        assert recorded.updated.tzinfo is not None
        assert kept.decision("p-1") == recorded

    def test_a_restarted_loop_finds_its_decision_as_it_stands(self, kept: Store) -> None:
        kept.record(decision("p-1"))
        acting = kept.advance("p-1", Status.DECIDED, Status.ACTING)
        assert kept.record(decision("p-1")) == acting
        assert kept.verify_chain() == 2

    def test_another_decision_under_the_same_id_is_refused(self, kept: Store) -> None:
        kept.record(decision("p-1"))
        with pytest.raises(ConflictError, match="another decision is on record as p-1: promote"):
            kept.record(decision("p-1", version=5))
        assert kept.verify_chain() == 1

    def test_a_decision_moves_on_from_the_status_it_has(self, kept: Store) -> None:
        first = kept.record(decision("p-1"))
        kept.advance("p-1", Status.DECIDED, Status.ACTING)
        done = kept.advance("p-1", Status.ACTING, Status.DONE, "alias champion is version 4")
        assert done.status is Status.DONE
        assert done.note == "alias champion is version 4"
        assert done.digest != first.digest
        assert kept.decisions("churn") == [done]

    def test_a_decision_carried_on_by_somebody_else_is_left_alone(self, kept: Store) -> None:
        kept.record(decision("p-1"))
        acting = kept.advance("p-1", Status.DECIDED, Status.ACTING)
        with pytest.raises(ConflictError, match="decision p-1 is acting, no longer decided"):
            kept.advance("p-1", Status.DECIDED, Status.DONE)
        assert kept.decision("p-1") == acting
        assert kept.verify_chain() == 2

    def test_a_decision_that_does_not_exist_is_named(self, kept: Store) -> None:
        with pytest.raises(NotFoundError, match="no decision 'p-9'"):
            kept.decision("p-9")
        with pytest.raises(NotFoundError, match="no decision 'p-9'"):
            kept.advance("p-9", Status.DECIDED, Status.DONE)
        assert kept.verify_chain() == 0

    def test_decisions_may_be_asked_for_by_model_status_and_number(self, kept: Store) -> None:
        for number in range(4):
            kept.record(decision(f"c-{number}"))
        kept.record(decision("f-0", model="fraud"))
        kept.advance("c-1", Status.DECIDED, Status.ACTING)
        ids = [r.decision.id for r in kept.decisions()]
        assert ids == ["c-0", "c-1", "c-2", "c-3", "f-0"]
        assert [r.decision.id for r in kept.decisions("churn", limit=2)] == ["c-2", "c-3"]
        acting = kept.decisions(statuses=[Status.ACTING, Status.DONE])
        assert [r.decision.id for r in acting] == ["c-1"]

    def test_an_empty_chain_is_whole(self, kept: Store) -> None:
        assert kept.verify_chain() == 0

    def test_threads_that_record_at_the_same_time_make_one_chain(self, kept: Store) -> None:
        def record(number: int) -> str:
            kept.record(decision(f"c-{number}"))
            return kept.advance(f"c-{number}", Status.DECIDED, Status.DONE).digest

        with ThreadPoolExecutor(4) as threads:
            digests = list(threads.map(record, range(20)))
        assert len(set(digests)) == 20
        assert kept.verify_chain() == 40


class JobsContract(_Contract):
    """Jobs."""

    def test_a_job_comes_back_as_it_was_saved(self, kept: Store) -> None:
        kept.save_job(job("j-1"))
        done = job("j-1", status=JobStatus.DONE, finished=NOON, pid=17, result={"version": 4})
        kept.save_job(done)
        assert kept.job("j-1") == done
        assert kept.jobs() == [done]

    def test_a_job_that_does_not_exist_is_named(self, kept: Store) -> None:
        with pytest.raises(NotFoundError, match="no job 'j-9'"):
            kept.job("j-9")

    def test_jobs_may_be_asked_for_by_model_status_and_number(self, kept: Store) -> None:
        later = [NOON + timedelta(minutes=minutes) for minutes in range(3)]
        for number in (2, 0, 1):
            kept.save_job(job(f"j-{number}", created=later[number]))
        kept.save_job(job("f-0", model="fraud", status=JobStatus.RUNNING))
        assert [j.id for j in kept.jobs("churn")] == ["j-0", "j-1", "j-2"]
        assert [j.id for j in kept.jobs("churn", limit=2)] == ["j-1", "j-2"]
        running = kept.jobs(statuses=[JobStatus.RUNNING, JobStatus.FAILED])
        assert [j.id for j in running] == ["f-0"]


class StoreContract(
    CareContract, ProfilesContract, FindingsContract, DecisionsContract, JobsContract
):
    """Everything that a control store must do."""
