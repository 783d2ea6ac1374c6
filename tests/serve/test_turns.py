"""Turns: alone with a key among the tasks of one server, and among servers."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gyroscope.errors import LogError, RequestError
from gyroscope.serve import turns
from gyroscope.serve.turns import Turns

KEY, OTHER_KEY = bytes(32), b"\1" * 32
HOLDER = """
import asyncio, sys
from pathlib import Path
from gyroscope.serve.turns import Turns

async def hold():
    async with Turns(Path(sys.argv[1])).of(bytes(32)):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(hold())
"""


def holder(path: Path) -> subprocess.Popen[bytes]:
    """Another process that has the turn of the key and keeps it."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_tasks_with_one_key_come_one_after_another(tmp_path: Path) -> None:
    busy, most = 0, 0

    async def take(of: Turns, key: bytes) -> None:
        nonlocal busy, most
        async with of.of(key):
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0)
            busy -= 1

    async def take_all(*keys: bytes) -> None:
        mine = Turns(tmp_path / "requests.lock")
        await asyncio.gather(*(take(mine, key) for key in keys))
        mine.close()

    asyncio.run(take_all(KEY, KEY, KEY))
    assert most == 1
    asyncio.run(take_all(KEY, OTHER_KEY))
    assert most == 2


def test_a_process_that_is_killed_in_its_turn_leaves_it_to_others(tmp_path: Path) -> None:
    path, had = tmp_path / "requests.lock", list[bytes]()
    other = holder(path)

    async def wait_for_turn() -> None:
        mine = Turns(path)

        async def take(key: bytes) -> None:
            async with mine.of(key):
                had.append(key)

        waiting = asyncio.create_task(take(KEY))
        await take(OTHER_KEY)
        assert had == [OTHER_KEY]
        end(other)
        await waiting
        mine.close()

    asyncio.run(wait_for_turn())
    assert had == [OTHER_KEY, KEY]


def test_who_waits_too_long_is_told_to_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE_S", 0.0)
    path = tmp_path / "requests.lock"
    other = holder(path)

    async def take() -> None:
        async with Turns(path).of(KEY):
            pass

    with pytest.raises(RequestError, match="is not done yet") as refused:
        asyncio.run(take())
    end(other)
    assert refused.value.status == 503


def test_nobody_waits_longer_because_others_wait_for_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_PATIENCE_S", 0.05)

    async def wait_for_the_stuck() -> list[object]:
        mine, gives_up = Turns(tmp_path / "requests.lock"), asyncio.Event()

        async def stuck() -> None:
            async with mine.of(KEY):
                await gives_up.wait()

        async def take() -> None:
            async with mine.of(KEY):
                raise AssertionError("it is not free")

        holding = asyncio.create_task(stuck())
        await asyncio.sleep(0)
        told = await asyncio.gather(*(take() for _ in range(3)), return_exceptions=True)
        gives_up.set()
        await holding
        async with mine.of(KEY):
            mine_again = True
        mine.close()
        return [*told, mine_again]

    *told, free_again = asyncio.run(wait_for_the_stuck())
    assert [getattr(error, "status", None) for error in told] == [503] * 3
    assert free_again


def test_what_times_out_within_a_turn_is_no_lack_of_patience(tmp_path: Path) -> None:
    async def take() -> None:
        async with Turns(tmp_path / "requests.lock").of(KEY):
            raise TimeoutError("of the block")

    with pytest.raises(TimeoutError, match="of the block"):
        asyncio.run(take())


def test_a_file_that_cannot_be_made_is_an_error_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")

    async def take() -> None:
        async with Turns(tmp_path / "state" / "requests.lock").of(KEY):
            pass

    with pytest.raises(LogError, match="cannot be opened"):
        asyncio.run(take())
