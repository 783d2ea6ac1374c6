import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.stats.calibration_error import calibration_curve, calibration_error


def perfect(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 3, n)
    return (rng.random(n) < p).astype(float), p


def test_two_bins_by_hand() -> None:
    found = calibration_error([0, 0, 1, 1], [0.1, 0.1, 0.6, 0.6], bins=2)
    assert found.error.value == pytest.approx(0.5 * 0.1 + 0.5 * 0.4)


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 20))
def test_bins_cover_all_rows_in_rising_order(seed: int, n: int, bins: int) -> None:
    y, p = perfect(seed, n)
    curve = calibration_curve(y, np.round(p, 1), bins=bins)
    assert curve.rows.sum() == n
    assert len(curve.rows) <= bins
    assert np.all(np.diff(curve.mean_score) > 0)


def test_distinct_scores_fall_into_bins_of_equally_many() -> None:
    curve = calibration_curve(*perfect(0, 1500), bins=15)
    assert np.all(np.abs(curve.rows - 100) <= 1)


def test_a_constant_score_has_one_bin() -> None:
    assert calibration_error([0, 1, 0, 0], [0.5] * 4).error.value == pytest.approx(0.25)


def test_no_rows_leave_it_undefined() -> None:
    found = calibration_error([], [])
    assert not found.error.defined
    assert found.p_value == 1


def test_a_perfect_model_has_the_expected_error_and_is_rejected_at_the_level() -> None:
    found = [calibration_error(*perfect(seed, 1000)) for seed in range(500)]
    mean_error = np.mean([f.error.value for f in found])
    assert mean_error == pytest.approx(np.mean([f.expected for f in found]), rel=0.03)
    rejected = np.mean([f.p_value < 0.05 for f in found])
    assert rejected == pytest.approx(0.05, abs=3 * np.sqrt(0.05 * 0.95 / 500))


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.15])
def test_the_interval_covers_a_known_error(shift: float) -> None:
    covered = []
    for seed in range(200):
        y, p = perfect(seed, 800)
        interval = calibration_error(y, p + shift * (1 - p)).error.interval
        truth = shift * 0.75  # the mean of 1 - p
        covered.append(interval.low <= truth <= interval.high)
    assert np.mean(covered) >= 0.95


def test_a_shifted_model_is_found_out() -> None:
    y, p = perfect(3, 2000)
    found = calibration_error(y, p + 0.1 * (1 - p))
    assert found.p_value < 1e-6
    assert found.error.interval.low > 0.02
