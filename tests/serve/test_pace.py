"""What took long the last time is expected to take long again."""

from __future__ import annotations

import asyncio
import math
import threading
from typing import Any

import pytest
from tests.serve.conftest import ROW, Served, small_bundle

from gyroscope.serve import endpoints, pace
from gyroscope.serve.numbers import Wish
from gyroscope.serve.pace import LONG_S, Pace
from gyroscope.serve.scoring import score


def test_only_what_was_measured_is_known() -> None:
    known, bundle = Pace(), small_bundle(1)
    assert known.most_rows(bundle, None) is None
    known.note(bundle, None, 10, LONG_S)
    assert known.most_rows(bundle, None) == pytest.approx(10)
    assert known.most_rows(bundle, Wish()) is None
    assert known.most_rows(small_bundle(1), None) is None
    assert known.seconds(bundle, None, 20) == pytest.approx(2 * LONG_S)
    assert known.seconds(bundle, Wish(), 20) is None
    known.note(bundle, None, 10, 0.0)
    assert known.most_rows(bundle, None) == math.inf


@pytest.mark.parametrize(("most", "second"), [(60.0, "MainThread"), (0.0, "scoring")])
def test_a_batch_leaves_the_event_loop_until_it_is_known_to_be_short(
    served: Served, monkeypatch: pytest.MonkeyPatch, most: float, second: str
) -> None:
    scored_in: list[str] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        scored_in.append(threading.current_thread().name.partition("_")[0])
        return score(*arguments, **options)

    monkeypatch.setattr(endpoints, "score", noted)
    monkeypatch.setattr(pace, "LONG_S", most)
    for _ in range(2):
        assert served.predict({"rows": [ROW] * 10}).status_code == 200
    assert scored_in == ["scoring", second]


@pytest.mark.parametrize("measured", [True, False])
def test_others_get_their_answers_while_two_requests_take_very_long(
    served: Served, monkeypatch: pytest.MonkeyPatch, measured: bool
) -> None:
    answered, begun = threading.Event(), threading.Semaphore(0)

    def slow(*arguments: Any, **options: Any) -> Any:
        if len(arguments[1].rows) == 300:
            begun.release()
            assert answered.wait(30)
        return score(*arguments, **options)

    monkeypatch.setattr(endpoints, "score", slow)
    pace_of_batches = served.app._endpoints._pace
    champion = served.model("churn").champion
    assert champion is not None
    if measured:
        pace_of_batches.note(champion.bundle, Wish(), 1, 60.0)
    else:  # the first rows of each tell it
        monkeypatch.setattr(endpoints, "_VERY_LONG_S", 1e-9)
        pace_of_batches.note(champion.bundle, None, 1, 0.0)

    async def all_three() -> list[int]:
        path, rows = "/v1/models/churn/predict", [ROW] * 300
        long = [
            asyncio.create_task(served.client.post(path, json={"rows": rows, "explain": 1}))
            for _ in range(2)
        ]
        for _ in long:
            await asyncio.to_thread(begun.acquire)
        short = await asyncio.wait_for(
            served.client.post(path, json={"rows": [ROW] * 250, "explain": 0}), 20
        )
        answered.set()
        return [short.status_code, *(one.status_code for one in await asyncio.gather(*long))]

    try:
        assert served.run(all_three()) == [200] * 3
    finally:
        answered.set()


def test_rows_at_fault_are_refused_before_it_is_known_how_long_they_take(served: Served) -> None:
    bodies: list[list[dict[str, Any]]] = [[{}] * 11, [*([ROW] * 20), {}]]
    for rows in bodies:
        answer = served.predict({"rows": rows, "explain": 1})
        assert answer.status_code == 422
        assert {problem["row"] for problem in answer.json()["error"]["problems"]} == {
            i for i, row in enumerate(rows) if not row
        }
