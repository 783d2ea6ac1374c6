"""River's detectors on streams with a known change; the message where River is absent."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.errors import DataError, MissingExtraError, UsageError
from gyroscope.monitor.comparisons import COMPARISONS, first_alarm

CHANGE = 1000


def errors(seed: int, *, later: float) -> np.ndarray:
    """Errors in {0, 1}: a fifth of the rows, from row 1000 on the share ``later``."""
    share = np.where(np.arange(2 * CHANGE) < CHANGE, 0.2, later)
    return (np.random.default_rng(seed).random(share.size) < share).astype(float)


@pytest.mark.parametrize("name", COMPARISONS)
def test_it_fires_after_a_large_change_and_not_before(name: str) -> None:
    alarm = first_alarm(name, errors(4, later=0.8))
    assert alarm is not None
    assert CHANGE < alarm < CHANGE + 300


@pytest.mark.parametrize("name", COMPARISONS)
def test_it_is_silent_on_a_constant_stream_and_without_values(name: str) -> None:
    assert first_alarm(name, np.zeros(500)) is None
    assert first_alarm(name, []) is None


def test_page_hinkley_agrees_with_its_definition() -> None:
    # Page (1954) with River's defaults: from 30 values on, allowance 0.005, threshold 50, a
    # forgetting factor of 0.9999, and the running mean with the new value in it.
    values = 10 * errors(2, later=0.6)
    mean, up, down, lowest, highest = 0.0, 0.0, 0.0, np.inf, -np.inf
    expected = None
    for k, value in enumerate(values):
        mean += (value - mean) / (k + 1)
        up = 0.9999 * up + value - mean - 0.005
        down = 0.9999 * down + value - mean + 0.005
        lowest, highest = min(lowest, up), max(highest, down)
        if k + 1 >= 30 and (up - lowest > 50 or highest - down > 50):
            expected = k
            break
    assert expected is not None
    assert first_alarm("page_hinkley", values) == expected


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_what_comes_after_the_alarm_does_not_matter(seed: int) -> None:
    stream = errors(seed, later=0.9)
    alarm = first_alarm("adwin", stream)
    assert alarm is not None
    assert first_alarm("adwin", stream[: alarm + 1]) == alarm
    assert first_alarm("adwin", stream[:alarm]) is None


def test_wrong_streams_and_names_are_refused() -> None:
    with pytest.raises(UsageError, match="no detector 'kswin' to compare with; known: adwin, ddm"):
        first_alarm("kswin", [0.0])
    with pytest.raises(DataError, match=r"one row of finite numbers, got shape \(1, 2\)"):
        first_alarm("adwin", [[0.0, 1.0]])
    with pytest.raises(DataError, match="finite"):
        first_alarm("adwin", [np.nan])
    with pytest.raises(DataError, match="ddm takes errors, 0 or 1"):
        first_alarm("ddm", [0.3])


def test_without_river_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "river"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(
        MissingExtraError, match=r"River is not installed: .*gyroscope-ml\[detectors"
    ):
        first_alarm("adwin", [0.0])
