"""Rows that are scored together with those of other requests."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from tests.serve.conftest import N_FEATURES, ROW, small_bundle

from gyroscope.bundle.bundle import Bundle
from gyroscope.serve import lane, pace
from gyroscope.serve.lane import Lane
from gyroscope.serve.numbers import Numbers, Wish, numbers_of

THREADS = ThreadPoolExecutor(1, thread_name_prefix="long")
BUNDLES = small_bundle(1), small_bundle(2)


def rows(n: int) -> list[Any]:
    """Encoded rows of their own, float64[p] each."""
    encoder = BUNDLES[0].encoder
    return [*encoder.encode_rows([{**ROW, "age": 20 + i, "balance": 10.0 * i} for i in range(n)])]


def at(numbers: Numbers, i: int) -> tuple[Any, ...]:
    """All that is said of row ``i``, bit by bit."""
    explained = (
        (numbers.bases[i], numbers.margins[i].hex(), numbers.values[i], numbers.order[i])
        if numbers.values
        else ()
    )
    return np.array(numbers.scores[i]).tobytes(), explained


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call of the kernels was given."""
    found: list[int] = []

    def noted(bundle: Any, X: Any, wish: Wish | None) -> Numbers:
        found.append(len(X))
        return numbers_of(bundle, X, wish)

    monkeypatch.setattr(lane, "numbers_of", noted)
    return found


@pytest.mark.parametrize("wish", [None, Wish(), Wish("probability")])
def test_rows_that_are_ready_together_share_a_call_and_get_the_bits_they_get_alone(
    wish: Wish | None, calls: list[int]
) -> None:
    async def together() -> list[tuple[Numbers, int]]:
        one = Lane(THREADS)
        return await asyncio.gather(*[one.numbers(BUNDLES[0], x, wish) for x in rows(20)])

    places = asyncio.run(together())
    assert calls == [20]
    for x, (numbers, i) in zip(rows(20), places, strict=True):
        assert at(numbers, i) == at(numbers_of(BUNDLES[0], x[None], wish), 0)


def test_versions_and_spaces_are_kept_apart_and_so_are_turns_of_the_loop(calls: list[int]) -> None:
    async def apart() -> None:
        one, (x, *_) = Lane(THREADS), rows(1)
        wishes: list[tuple[Bundle, Wish | None]] = [
            (BUNDLES[0], None),
            (BUNDLES[1], None),
            (BUNDLES[0], Wish()),
            (BUNDLES[0], None),
        ]
        places = await asyncio.gather(*[one.numbers(bundle, x, wish) for bundle, wish in wishes])
        for (bundle, wish), (numbers, i) in zip(wishes, places, strict=True):
            assert at(numbers, i) == at(numbers_of(bundle, x[None], wish), 0)
        await one.numbers(BUNDLES[0], x, None)

    asyncio.run(apart())
    assert sorted(calls) == [1, 1, 1, 2]


def test_a_row_that_overflows_is_told_of_that_row_alone() -> None:
    bundle = small_bundle(1, balance_scale=1e3)
    sound, large = bundle.encoder.encode_rows([ROW, {**ROW, "balance": 1.7e308}])

    async def both() -> list[tuple[Numbers, int]]:
        one = Lane(THREADS)
        return await asyncio.gather(*[one.numbers(bundle, x, Wish()) for x in (sound, large)])

    (numbers, first), (same, second) = asyncio.run(both())
    assert numbers is same
    assert first not in numbers.overflow
    assert second in numbers.overflow


def test_a_fault_reaches_everybody_who_waits_but_those_who_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> Numbers:
        raise MemoryError("none left")

    async def waited() -> list[Any]:
        one, x = Lane(THREADS), np.zeros(N_FEATURES)
        gone, *others = [one.numbers(BUNDLES[0], x, None) for _ in range(3)]
        gone.cancel()
        found = await asyncio.gather(*others, return_exceptions=True)
        monkeypatch.undo()
        await one.numbers(BUNDLES[0], x, None)  # the next turn begins anew
        return found

    monkeypatch.setattr(lane, "numbers_of", broken)
    assert [type(error) for error in asyncio.run(waited())] == [MemoryError, MemoryError]


def test_a_row_that_cannot_be_scored_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def picky(bundle: Any, X: Any, wish: Wish | None) -> Numbers:
        if np.isinf(X).any():
            raise IndexError("no such code")
        return numbers_of(bundle, X, wish)

    async def waited() -> list[Any]:
        one, (x, *_) = Lane(THREADS), rows(1)
        asked = [one.numbers(BUNDLES[0], y, None) for y in (x, np.full_like(x, np.inf), x)]
        return await asyncio.gather(*asked, return_exceptions=True)

    monkeypatch.setattr(lane, "numbers_of", picky)
    first, second, third = asyncio.run(waited())
    assert isinstance(second, IndexError)
    assert at(*first) == at(*third) == at(numbers_of(BUNDLES[0], rows(1)[0][None], None), 0)


def test_what_took_long_the_last_time_leaves_the_event_loop_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scored_in: list[str] = []

    def noted(bundle: Any, X: Any, wish: Wish | None) -> Numbers:
        scored_in.append(threading.current_thread().name.partition("_")[0])
        return numbers_of(bundle, X, wish)

    async def twice() -> None:
        one, (x, *_) = Lane(THREADS), rows(1)
        for _ in range(2):
            numbers, i = await one.numbers(BUNDLES[0], x, None)
            assert at(numbers, i) == at(numbers_of(BUNDLES[0], x[None], None), 0)

    monkeypatch.setattr(lane, "numbers_of", noted)
    monkeypatch.setattr(pace, "LONG_S", 0.0)
    asyncio.run(twice())
    assert scored_in == ["MainThread", "long"]


def test_many_rows_of_a_quick_version_are_scored_in_turns(
    calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def waited() -> None:
        one = Lane(THREADS)
        monkeypatch.setattr(one._pace, "most_rows", lambda *_: 8.5)
        places = await asyncio.gather(*[one.numbers(BUNDLES[0], x, None) for x in rows(20)])
        for x, (numbers, i) in zip(rows(20), places, strict=True):
            assert at(numbers, i) == at(numbers_of(BUNDLES[0], x[None], None), 0)

    asyncio.run(waited())
    assert calls == [8, 8, 4]
