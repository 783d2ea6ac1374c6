"""What took long the last time is expected to take long again."""

from __future__ import annotations

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
        assert served.predict({"rows": [ROW] * 20}).status_code == 200
    assert scored_in == ["scoring", second]
