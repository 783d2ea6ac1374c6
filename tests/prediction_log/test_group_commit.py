"""Concurrent appends share a sync, and each task learns what became of its own records."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from gyroscope.errors import LogError
from gyroscope.model import Prediction
from gyroscope.prediction_log import FileLog, GroupCommit, MemoryLog
from gyroscope.testing.prediction_log import MIDNIGHT, label, prediction


class SlowLog(MemoryLog):
    """Lets an append begin when the test says so, and remembers the groups."""

    def __init__(self, failures: Sequence[Exception | None] = ()) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.may_go = threading.Event()
        self.groups: list[int] = []
        self.failures = list(failures)  # what the first appends raise

    def append(self, predictions: Sequence[Prediction]) -> None:
        self.begun.set()
        assert self.may_go.wait(30)
        self.groups.append(len(predictions))
        if self.failures and (failure := self.failures.pop(0)):
            raise failure
        super().append(predictions)


async def outcomes(commit: GroupCommit, appends: list[list[Prediction]]) -> list[object]:
    """What becomes of appends that are all handed in before the first is written."""
    tasks = [asyncio.create_task(commit.append(predictions)) for predictions in appends]
    await asyncio.sleep(0)  # every task has begun
    return list(await asyncio.gather(*tasks, return_exceptions=True))


def test_two_hundred_tasks_are_durable_when_resumed(tmp_path: Path) -> None:
    log, reader = FileLog(tmp_path), FileLog(tmp_path)

    async def request(commit: GroupCommit, number: int) -> bool:
        name = f"{number}"
        await commit.append([prediction(name)])
        await commit.append_labels([label(name, number)])
        return name in await asyncio.to_thread(reader.known, [name])

    async def main() -> list[bool]:
        commit = GroupCommit(log)
        durable = await asyncio.gather(*(request(commit, number) for number in range(200)))
        await commit.close()
        return durable

    assert asyncio.run(main()) == [True] * 200
    read = log.read()
    labels = {p.id: x and x.label for p, x in zip(read.predictions, read.labels, strict=True)}
    assert labels == {f"{number}": number for number in range(200)}


def test_what_arrives_during_a_sync_is_written_together_after_it() -> None:
    log = SlowLog()

    async def main() -> None:
        commit = GroupCommit(log)
        first = asyncio.create_task(commit.append([prediction("first")]))
        await asyncio.to_thread(log.begun.wait, 30)
        others = [asyncio.create_task(commit.append([prediction(f"{n}")])) for n in range(199)]
        await asyncio.sleep(0)
        log.may_go.set()
        await asyncio.gather(first, *others)
        await commit.close()

    asyncio.run(main())
    assert log.groups == [1, 199]
    assert len(log.read().predictions) == 200


def test_a_record_that_cannot_be_logged_fails_its_own_task_alone() -> None:
    log = SlowLog()
    log.may_go.set()
    bad = msgspec.structs.replace(prediction("bad"), time=MIDNIGHT.replace(tzinfo=None))

    async def main() -> list[object]:
        commit = GroupCommit(log)
        appends = [[prediction(f"{number}")] for number in range(20)]
        found = await outcomes(commit, [*appends, [prediction("x"), bad], [prediction("last")]])
        await commit.close()
        return found

    *good, failed, last = asyncio.run(main())
    assert good == [None] * 20
    assert isinstance(failed, LogError)
    assert "prediction 'bad' cannot be logged" in str(failed)
    assert last is None
    assert {p.id for p in log.read().predictions} == {"last", *(f"{n}" for n in range(20))}


def test_a_log_that_cannot_be_written_fails_all_tasks_then_and_none_later() -> None:
    full = LogError("the disk is full")
    log = SlowLog(failures=[full] * 4)  # the first, the group of two, and each of the two alone

    async def main() -> tuple[list[object], list[object]]:
        commit = GroupCommit(log)
        blocked = asyncio.create_task(commit.append([prediction("blocked")]))
        await asyncio.to_thread(log.begun.wait, 30)
        tasks = [asyncio.create_task(commit.append([prediction(f"{n}")])) for n in range(2)]
        await asyncio.sleep(0)
        log.may_go.set()
        during = await asyncio.gather(blocked, *tasks, return_exceptions=True)
        later = await outcomes(commit, [[prediction("later")]])
        await commit.close()
        return list(during), later

    during, later = asyncio.run(main())
    assert during == [full] * 3
    assert later == [None]
    assert [p.id for p in log.read().predictions] == ["later"]


def test_an_unforeseen_error_reaches_the_tasks_instead_of_hanging_them() -> None:
    log = SlowLog(failures=[ZeroDivisionError("a bug")])
    log.may_go.set()

    async def main() -> list[object]:
        commit = GroupCommit(log)
        found = await outcomes(commit, [[prediction("a")]])
        found += await outcomes(commit, [[prediction("b")]])
        await commit.close()
        return found

    bug, fine = asyncio.run(main())
    assert isinstance(bug, ZeroDivisionError)
    assert fine is None


def test_a_cancelled_task_does_not_cancel_its_group() -> None:
    log = SlowLog()

    async def main() -> None:
        commit = GroupCommit(log)
        first = asyncio.create_task(commit.append([prediction("first")]))
        await asyncio.to_thread(log.begun.wait, 30)
        gone = asyncio.create_task(commit.append([prediction("gone")]))
        stays = asyncio.create_task(commit.append([prediction("stays")]))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        log.may_go.set()
        await asyncio.gather(first, stays)
        await commit.close()

    asyncio.run(main())
    assert log.known(["first", "stays"]) == {"first", "stays"}


def test_close_waits_for_what_was_handed_in_and_refuses_more() -> None:
    log = SlowLog()

    async def main() -> None:
        commit = GroupCommit(log)
        first = asyncio.create_task(commit.append([prediction("first")]))
        await asyncio.to_thread(log.begun.wait, 30)
        second = asyncio.create_task(commit.append([prediction("second")]))
        await asyncio.sleep(0)
        closing = asyncio.create_task(commit.close())
        await asyncio.sleep(0)
        with pytest.raises(LogError, match="the server is stopping"):
            await commit.append([prediction("late")])
        with pytest.raises(LogError, match="the server is stopping"):
            await commit.append_labels([label("late")])
        assert not closing.done()
        log.may_go.set()
        await closing
        await asyncio.gather(first, second)

    asyncio.run(main())
    assert log.known(["first", "second", "late"]) == {"first", "second"}
