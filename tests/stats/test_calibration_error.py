import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.stats.calibration_error import (
    calibration_curve,
    calibration_error,
    spiegelhalter,
    squared_calibration_error,
)


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


@pytest.mark.parametrize("bins", [1, 2, 15])
def test_its_p_value_is_the_tail_of_a_sum_of_folded_normals(bins: int) -> None:
    """Far out too, where the normal distribution of the same variance has too little, it is on the
    safe side."""
    rows, runs = 1000, 100_000
    levels = (np.arange(bins) + 1) / (bins + 1)
    p = np.repeat(levels, rows)
    errors = np.sqrt(levels * (1 - levels) / rows) / bins
    chance = np.abs(np.random.default_rng(4).normal(0, errors, (runs, bins))).sum(axis=1)
    for level in (0.1, 0.01, 0.001):
        limit = np.quantile(chance, 1 - level)
        y = np.zeros(len(p))  # each bin off by as much, some positives more than promised
        for k, share in enumerate(levels):
            y[k * rows : k * rows + round(rows * (share + limit))] = 1
        found = calibration_error(y, p, bins=bins)
        reached = float(np.mean(chance >= found.error.value))
        slack = 4 * np.sqrt(reached / runs)
        assert 0.88 * reached - slack <= found.p_value <= 2.3 * reached + slack


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


def test_the_squared_error_by_hand() -> None:
    # One bin, gaps -1/2, -1/2, 1/2, -1/2: mean -1/4, variance 3/16, of the mean of four 1/16.
    found = squared_calibration_error([0, 0, 1, 0], [0.5] * 4, bins=1)
    assert found.value == pytest.approx(1 / 16 - 1 / 16)


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_the_squared_error_is_right_on_average_and_its_interval_covers(shift: float) -> None:
    runs, bins = 200, 10
    found, truth = [], []
    for seed in range(runs):
        y, p = perfect(seed, 1000)
        found.append(squared_calibration_error(y, p + shift * (1 - p), bins=bins))
        order = np.sort(p).reshape(bins, -1)
        truth.append(float((((1 - order) * shift).mean(axis=1) ** 2).mean()))
    values = np.array([f.value for f in found])
    assert values.mean() == pytest.approx(
        np.mean(truth), abs=4 * values.std() / np.sqrt(runs) + 0.02 * np.mean(truth)
    )
    covered = np.mean(
        [f.interval.low <= t <= f.interval.high for f, t in zip(found, truth, strict=True)]
    )
    assert covered == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / runs))


def test_spiegelhalter_by_hand() -> None:
    # (0 - 0.2) 0.6 + (1 - 0.7)(-0.4) = -0.24; 0.36 * 0.16 + 0.16 * 0.21 = 0.0912
    assert spiegelhalter([0, 1], [0.2, 0.7]).z == pytest.approx(-0.24 / np.sqrt(0.0912))


def test_spiegelhalter_keeps_its_level_and_tells_extreme_from_timid() -> None:
    runs = 600
    rejected = np.mean([spiegelhalter(*perfect(seed, 300)).p_value < 0.05 for seed in range(runs)])
    assert rejected == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / runs))
    y, p = perfect(0, 5000)
    odds = p / (1 - p)
    assert spiegelhalter(y, odds**2 / (1 + odds**2)).z > 5
    assert spiegelhalter(y, np.sqrt(odds) / (1 + np.sqrt(odds))).z < -5


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 100))
def test_order_and_names_of_classes_do_not_matter(seed: int, n: int) -> None:
    y, p = perfect(seed, n)
    z = spiegelhalter(y, p).z
    assert spiegelhalter(y[::-1], p[::-1]).z == pytest.approx(z, abs=1e-9)
    assert spiegelhalter(1 - y, 1 - p).z == pytest.approx(z, abs=1e-9)
    there = squared_calibration_error(y, p).value
    back = squared_calibration_error(y[::-1], p[::-1]).value
    assert there == pytest.approx(back, abs=1e-12, nan_ok=True)


def test_certain_scores_have_no_variance_to_test() -> None:
    assert spiegelhalter([0, 1], [0, 1]).p_value == 1
    assert spiegelhalter([1, 1], [0, 1]).p_value == 0
    assert spiegelhalter([], []).p_value == 1
    assert not squared_calibration_error([], []).defined
    assert not squared_calibration_error([1], [0.5]).defined
