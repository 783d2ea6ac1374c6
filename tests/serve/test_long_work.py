"""Work of many seconds, of which only so much may wait."""

from __future__ import annotations

import asyncio
import threading

import pytest

from gyroscope.errors import RequestError
from gyroscope.serve.http import BusyError
from gyroscope.serve.long_work import PATIENCE_S, LongWork


def test_work_is_refused_that_would_wait_for_too_long_and_taken_again_afterwards() -> None:
    may_end = threading.Event()

    async def run() -> list[str]:
        crew = LongWork(2)

        def slow() -> str:
            assert may_end.wait(30)
            return "done"

        def asked(expected_s: float) -> asyncio.Task[str]:
            return asyncio.create_task(crew.run(slow, expected_s, lambda: False))

        done = [asked(PATIENCE_S), asked(PATIENCE_S - 2)]  # a thread each, however long they take
        done.append(asked(4.0))  # waits for 59 s
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="try again in 61 s") as refused:
            await crew.run(slow, 3.0, lambda: False)
        assert (refused.value.status, refused.value.retry_s) == (503, 61)
        may_end.set()
        found = await asyncio.gather(*done)
        found.append(await crew.run(lambda: "later", 1e6, lambda: False))
        crew.close()
        return found

    assert asyncio.run(run()) == ["done", "done", "done", "later"]


def test_work_whose_client_has_left_when_its_turn_comes_is_not_done() -> None:
    begun, may_end, left = threading.Event(), threading.Event(), threading.Event()
    done: list[str] = []

    async def run() -> None:
        crew = LongWork(1)

        def slow() -> None:
            begun.set()
            assert may_end.wait(30)
            done.append("first")

        first = asyncio.create_task(crew.run(slow, 1.0, lambda: False))
        await asyncio.to_thread(begun.wait)
        second = asyncio.create_task(crew.run(lambda: done.append("second"), 1.0, left.is_set))
        third = asyncio.create_task(crew.run(lambda: done.append("third"), 1.0, lambda: False))
        await asyncio.sleep(0)
        left.set()
        may_end.set()
        await asyncio.gather(first, third)
        with pytest.raises(RequestError, match="ended while this waited"):
            await second
        crew.close()

    asyncio.run(run())
    assert done == ["first", "third"]
