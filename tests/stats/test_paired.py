import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from gyroscope.stats.losses import logit
from gyroscope.stats.paired import log_loss_gains, paired_log_loss


def draw(seed: int, n: int = 100) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second = rng.uniform(0.01, 0.99, (2, n))
    return rng.random(n) < first, first, second


@given(st.integers(0, 2**32 - 1))
def test_the_improvement_is_the_difference_of_the_log_losses(seed: int) -> None:
    y, first, second = draw(seed)
    found = paired_log_loss(y, first, second)
    assert found is not None
    expected = log_loss(y, first, labels=[0, 1]) - log_loss(y, second, labels=[0, 1])
    assert found.improvement == pytest.approx(expected)
    assert found.interval.low <= found.improvement <= found.interval.high


@given(st.integers(0, 2**32 - 1))
def test_swapping_the_models_turns_the_sign(seed: int) -> None:
    y, first, second = draw(seed)
    there, back = paired_log_loss(y, first, second), paired_log_loss(y, second, first)
    assert there is not None
    assert back is not None
    assert there.improvement == pytest.approx(-back.improvement)
    assert there.p_value == pytest.approx(1 - back.p_value)


def test_a_row_gains_or_loses_no_more_than_the_floor_allows() -> None:
    gains = log_loss_gains([1, 1], [0.0, 1.0], [1.0, 0.0])
    assert gains.tolist() == pytest.approx([logit(0.999), -logit(0.999)])


def test_a_larger_minimum_improvement_is_harder_to_pass() -> None:
    y, first, _ = draw(1, 2000)
    worse = 0.5 + 0.7 * (first - 0.5)
    p_values = []
    for minimum in (0.0, 0.02, 0.5):
        found = paired_log_loss(y, worse, first, minimum_improvement=minimum)
        assert found is not None
        p_values.append(found.p_value)
    assert p_values[0] < p_values[1] < p_values[2]
    assert p_values[2] > 0.99


def test_one_row_says_nothing() -> None:
    assert paired_log_loss([1], [0.2], [0.3]) is None
