"""Executors: the contract, and deaths of every kind with real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gyroscope.errors import GyroscopeError, UsageError
from gyroscope.loop.base import Executor
from gyroscope.loop.executors import InlineExecutor, ProcessExecutor
from gyroscope.loop.traces import Phase, Traces
from gyroscope.store.base import Job, JobStatus
from gyroscope.testing.executor import ExecutorContract, ended, job, perform
from gyroscope.testing.waiting import wait_for

CHILD = Path(__file__).with_name("job_process.py")

Start = Callable[..., ProcessExecutor]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Makes executors over one folder; what they leave running is killed in the end."""
    command = [sys.executable, str(CHILD), "--folder", str(tmp_path)]
    made: list[ProcessExecutor] = []

    def make(**options: Any) -> ProcessExecutor:
        made.append(ProcessExecutor(command, tmp_path / "jobs", **options))
        return made[-1]

    os.mkfifo(tmp_path / "gate")
    yield make
    for path in (tmp_path / "jobs").glob("*.lock"):
        make().cancel(job(path.stem))
    for executor in made:
        executor.close()


def open_gate(tmp_path: Path) -> None:
    (tmp_path / "gate").write_bytes(b"go")


def started(tmp_path: Path) -> int:
    """Wait until the job "wait" runs; the id of its child process."""
    path = tmp_path / "started"
    return int(wait_for(lambda: path.read_text() if path.exists() else ""))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


class TestInlineContract(ExecutorContract):
    @pytest.fixture
    def executor(self) -> Executor:
        return InlineExecutor(lambda given: perform(given.id))


class TestProcessContract(ExecutorContract):
    @pytest.fixture
    def executor(self, start: Start) -> Executor:
        return start()


class TestInline:
    def test_a_defect_in_the_job_goes_up_to_whoever_submitted(self) -> None:
        def run(given: Job) -> dict[str, Any]:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            InlineExecutor(run).submit(job("defect"))


class TestDeaths:
    def test_a_child_that_exits_with_an_error_shows_status_and_last_words(
        self, start: Start, tmp_path: Path
    ) -> None:
        failed = ended(start(), job("exit-1"))
        assert failed.status is JobStatus.FAILED
        assert failed.error == (
            f"the job ended with exit status 3. {tmp_path}/jobs/exit-1.log ends: "
            "loading rows\ncolumn age: expected a number"
        )

    def test_a_child_killed_by_the_kernel_is_reported_as_that(self, start: Start) -> None:
        failed = ended(start(), job("kill-1"))
        assert "was killed by SIGKILL; if nobody did that, the machine ran out of memory" in (
            failed.error
        )

    def test_a_child_that_runs_out_of_memory_is_reported_as_that(self, start: Start) -> None:
        failed = ended(start(), job("memory-1"))
        assert failed.error.startswith("the job ran out of memory and ended with exit status 1.")

    def test_a_child_that_leaves_no_result_has_failed(self, start: Start) -> None:
        failed = ended(start(), job("nothing-1"))
        assert "ended without leaving a result" in failed.error
        assert failed.error.endswith("(nothing printed)")

    def test_a_job_whose_whole_process_group_is_killed_has_failed(
        self, start: Start, tmp_path: Path
    ) -> None:
        executor = start()
        executor.submit(job("wait-1"))
        started(tmp_path)
        group = executor.poll(job("wait-1")).pid
        assert group is not None
        os.killpg(group, signal.SIGKILL)
        assert "it left no result" in ended(executor, job("wait-1")).error

    def test_a_command_that_does_not_exist_fails_the_job(self, tmp_path: Path) -> None:
        executor = ProcessExecutor([str(tmp_path / "no-such-program")], tmp_path)
        assert "ended with exit status 127" in ended(executor, job("answer-1")).error
        executor.close()

    def test_a_process_that_cannot_be_made_leaves_the_job_queued(self, tmp_path: Path) -> None:
        executor = ProcessExecutor(["x" * 10_000_000], tmp_path)
        with pytest.raises(GyroscopeError, match="job answer-1 could not be started and stays que"):
            executor.submit(job("answer-1"))
        assert Traces(tmp_path, "answer-1").phase() is Phase.NOT_STARTED

    def test_a_job_whose_files_were_removed_is_lost_not_started_again(self, start: Start) -> None:
        lost = start().poll(job("answer-1", status=JobStatus.RUNNING))
        assert lost.status is JobStatus.FAILED
        assert lost.error.startswith("the job is lost: ")


class TestRestarts:
    def test_a_job_that_outlives_its_parent_is_found_running_and_then_done(
        self, start: Start, tmp_path: Path
    ) -> None:
        parent = subprocess.run(
            [sys.executable, "-c", SUBMIT, str(CHILD), str(tmp_path)], check=False
        )
        assert parent.returncode == -signal.SIGKILL
        started(tmp_path)
        executor = start()
        running = executor.poll(job("wait-1"))
        assert running.status is JobStatus.RUNNING
        assert running.pid is not None
        open_gate(tmp_path)
        assert ended(executor, running).result["job"] == "wait-1"

    def test_how_a_job_died_is_known_although_its_parent_had_died_before(
        self, start: Start, tmp_path: Path
    ) -> None:
        subprocess.run([sys.executable, "-c", SUBMIT, str(CHILD), str(tmp_path)], check=False)
        grandchild = started(tmp_path)
        executor = start()
        running = executor.poll(job("wait-1"))
        children = f"/proc/{running.pid}/task/{running.pid}/children"
        if not Path(children).exists():
            pytest.skip("needs the kernel's list of a process's children")
        (worker,) = map(int, Path(children).read_text().split())
        os.kill(worker, signal.SIGSEGV)
        assert "was ended by SIGSEGV" in ended(executor, running).error
        wait_for(lambda: not is_alive(grandchild))  # not left behind

    def test_a_job_that_ended_while_nobody_looked_is_done(
        self, start: Start, tmp_path: Path
    ) -> None:
        executor = start()
        executor.submit(job("answer-1"))
        wait_for((tmp_path / "jobs" / "answer-1.exit").exists)
        executor.close()
        assert start().poll(job("answer-1")).status is JobStatus.DONE

    def test_a_job_is_not_started_again_by_a_second_executor(
        self, start: Start, tmp_path: Path
    ) -> None:
        first, second = start(), start()
        first.submit(job("wait-1"))
        second.submit(job("wait-1"))
        started(tmp_path)
        assert second.poll(job("wait-1")).pid == first.poll(job("wait-1")).pid
        open_gate(tmp_path)
        assert ended(first, job("wait-1")) == ended(second, job("wait-1"))

    def test_a_job_that_another_executor_is_about_to_start_is_left_to_it(
        self, start: Start, tmp_path: Path
    ) -> None:
        executor = start()
        with (tmp_path / "jobs" / "answer-1.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            executor.submit(job("answer-1"))
            assert executor.poll(job("answer-1")).status is JobStatus.RUNNING
            assert not (tmp_path / "jobs" / "answer-1.log").exists()
        assert ended(executor, job("answer-1")).status is JobStatus.DONE  # it died before it could

    def test_a_process_id_that_went_to_another_program_misleads_nobody(
        self, start: Start, tmp_path: Path
    ) -> None:
        executor = start()
        (tmp_path / "jobs" / "answer-1.lock").write_text(f"{os.getpid()}\n")
        running = job("answer-1", status=JobStatus.RUNNING)
        executor.cancel(running)  # would kill this very test
        assert executor.poll(running).status is JobStatus.FAILED


class TestLimits:
    def test_more_jobs_than_the_limit_wait_for_their_turn(
        self, start: Start, tmp_path: Path
    ) -> None:
        executor = start(limit=1)
        executor.submit(job("wait-1"))
        executor.submit(job("answer-2"))
        started(tmp_path)
        assert executor.poll(job("answer-2")).status is JobStatus.QUEUED
        open_gate(tmp_path)
        assert ended(executor, job("wait-1")).status is JobStatus.DONE
        assert ended(executor, job("answer-2")).status is JobStatus.DONE

    def test_jobs_left_running_by_the_executor_before_count(
        self, start: Start, tmp_path: Path
    ) -> None:
        start(limit=1).submit(job("wait-1"))
        started(tmp_path)
        executor = start(limit=1)
        executor.submit(job("answer-2"))
        assert executor.poll(job("answer-2")).status is JobStatus.QUEUED
        open_gate(tmp_path)
        assert ended(executor, job("answer-2")).status is JobStatus.DONE

    def test_a_limit_below_one_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="limit must be at least 1 job, got 0"):
            ProcessExecutor(["true"], tmp_path, limit=0)

    def test_a_job_id_that_could_leave_the_folder_is_refused(self, start: Start) -> None:
        with pytest.raises(UsageError, match=r"job id '\.\./x': it names files"):
            start().submit(job("../x"))


class TestCare:
    def test_a_job_runs_lower_in_priority_and_away_from_the_terminal(self, start: Start) -> None:
        result = ended(start(), job("answer-1")).result
        assert result["niceness"] == min(19, os.nice(0) + 10)
        assert result["session"] != os.getsid(0)

    def test_cancelling_kills_the_job_and_what_it_started(
        self, start: Start, tmp_path: Path
    ) -> None:
        executor = start()
        executor.submit(job("wait-1"))
        grandchild = started(tmp_path)
        executor.cancel(job("wait-1"))
        assert ended(executor, job("wait-1")).error == "the job was cancelled"
        wait_for(lambda: not is_alive(grandchild))

    def test_a_job_cancelled_the_moment_it_was_submitted_does_not_go_on(self, start: Start) -> None:
        executor = start()
        executor.submit(job("answer-1"))
        executor.cancel(job("answer-1"))
        assert ended(executor, job("answer-1")).error == "the job was cancelled"

    def test_a_waiting_job_that_is_cancelled_never_runs(self, start: Start, tmp_path: Path) -> None:
        executor = start(limit=1)
        executor.submit(job("wait-1"))
        executor.submit(job("answer-2"))
        executor.cancel(job("answer-2"))
        assert executor.poll(job("answer-2")).error == "the job was cancelled"
        started(tmp_path)
        open_gate(tmp_path)
        ended(executor, job("wait-1"))
        assert not (tmp_path / "jobs" / "answer-2.log").exists()

    def test_no_zombie_is_left_behind(self, start: Start) -> None:
        executor = start()
        ended(executor, job("answer-1"))

        def no_child() -> bool:
            executor.poll(job("answer-2", status=JobStatus.QUEUED))
            executor.close()
            return not executor._children

        wait_for(no_child)


SUBMIT = """
import os, signal, sys
from pathlib import Path
from gyroscope.loop.executors import ProcessExecutor
from gyroscope.testing.executor import job
child, folder = sys.argv[1:]
command = [sys.executable, child, "--folder", folder]
ProcessExecutor(command, Path(folder, "jobs")).submit(job("wait-1"))
os.kill(os.getpid(), signal.SIGKILL)
"""
