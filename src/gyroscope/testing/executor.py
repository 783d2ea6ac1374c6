"""What every executor must do: subclass :class:`ExecutorContract` in your tests.

class TestMyExecutor(ExecutorContract):
    @pytest.fixture
    def executor(self, tmp_path):
        return MyExecutor(run=perform, folder=tmp_path)
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from gyroscope.errors import GyroscopeError
from gyroscope.loop.base import Executor
from gyroscope.store.base import Job, JobStatus
from gyroscope.testing.waiting import wait_for


def job(job_id: str, *, status: JobStatus = JobStatus.QUEUED) -> Job:
    """A job for tests; the beginning of ``job_id`` says what :func:`perform` does with it."""
    return Job(
        id=job_id,
        model="churn",
        kind="test",
        arguments={},
        status=status,
        created=datetime(2026, 3, 1, tzinfo=UTC),
    )


def perform(job_id: str) -> dict[str, Any]:
    """The work that an executor under test must carry out.

    ``answer-...`` returns a token that is new at each call; ``refuse-...`` raises GyroscopeError.
    """
    if job_id.startswith("refuse-"):
        raise GyroscopeError("no rows in window 2026-03-01..2026-03-08")
    return {"job": job_id, "token": uuid.uuid4().hex}


def ended(executor: Executor, given: Job) -> Job:
    """Poll until the job has ended."""

    def polled() -> Job | None:
        now = executor.poll(given)
        return now if now.status in (JobStatus.DONE, JobStatus.FAILED) else None

    result = wait_for(polled)
    assert result is not None
    return result


class ExecutorContract:
    """Tests of an executor; a subclass overrides the fixture ``executor``."""

    @pytest.fixture
    def executor(self) -> Executor:
        """An executor over a fresh state that runs :func:`perform`."""
        raise NotImplementedError("override the fixture 'executor'")

    @pytest.fixture
    def runner(self, executor: Executor) -> Iterator[Executor]:
        """The executor under test, closed in the end."""
        with closing(executor):
            yield executor

    def test_a_submitted_job_ends_with_its_result(self, runner: Executor) -> None:
        given = job("answer-1")
        runner.submit(given)
        done = ended(runner, given)
        assert done.status is JobStatus.DONE
        assert done.result["job"] == "answer-1"
        assert done.finished is not None
        assert done.finished.tzinfo is not None
        assert not done.error

    def test_a_job_that_fails_says_why(self, runner: Executor) -> None:
        given = job("refuse-1")
        runner.submit(given)
        failed = ended(runner, given)
        assert failed.status is JobStatus.FAILED
        assert "no rows in window 2026-03-01..2026-03-08" in failed.error
        assert failed.result == {}

    def test_a_job_submitted_twice_runs_once(self, runner: Executor) -> None:
        given = job("answer-1")
        runner.submit(given)
        first = ended(runner, given)
        runner.submit(given)
        assert ended(runner, given).result == first.result

    def test_polling_leaves_everything_but_the_outcome_as_it_was(self, runner: Executor) -> None:
        given = job("answer-1")
        done = ended(runner, given)
        assert (done.id, done.model, done.kind) == (given.id, given.model, given.kind)
        assert (done.arguments, done.created) == (given.arguments, given.created)

    def test_a_queued_job_that_nobody_submitted_is_taken_up(self, runner: Executor) -> None:
        assert ended(runner, job("answer-1")).status is JobStatus.DONE

    def test_a_job_on_record_as_ended_is_not_touched(self, runner: Executor) -> None:
        past = job("answer-1", status=JobStatus.FAILED)
        runner.cancel(past)
        assert runner.poll(past) is past

    def test_cancelling_a_job_that_has_ended_changes_nothing(self, runner: Executor) -> None:
        given = job("answer-1")
        done = ended(runner, given)
        runner.cancel(given)
        assert ended(runner, given).result == done.result

    def test_a_job_cancelled_before_it_starts_fails_and_never_runs(self, runner: Executor) -> None:
        given = job("answer-1")
        runner.cancel(given)
        assert ended(runner, given).error == "the job was cancelled"

    def test_it_can_be_closed_twice(self, runner: Executor) -> None:
        runner.close()
        runner.close()
