import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from gyroscope.errors import DataError
from gyroscope.stats.calibration_map import calibration_map, support


def overconfident(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores that are too extreme, and the chances they should have been."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(-0.5, 1.2, n)
    chance = 1 / (1 + np.exp(-margin))
    return (rng.random(n) < chance).astype(float), 1 / (1 + np.exp(-2 * margin)), chance


def test_few_distinct_scores_get_the_shares_of_isotonic_regression() -> None:
    y, p, _ = overconfident(0, 600)
    p = np.round(p * 5) / 5
    found = calibration_map(y, p).fitted(np.unique(p))
    expected = IsotonicRegression().fit(p, y).predict(np.unique(p))
    assert found == pytest.approx(expected)


def test_shares_that_fall_are_joined_by_hand() -> None:
    # 0.2: 0 of 2, then 0.4: 1 of 1 and 0.6: 0 of 1 are joined to 1 of 2 at 0.5, 0.9: 2 of 2.
    found = calibration_map([0, 0, 1, 0, 1, 1], [0.2, 0.2, 0.4, 0.6, 0.9, 0.9])
    assert found.thresholds == pytest.approx([0.2, 0.5, 0.9])
    assert found.values == pytest.approx([0, 0.5, 1])
    assert found.starts == pytest.approx([0.2, 0.4, 0.9])
    assert found.rows == pytest.approx([2, 2, 2])


def test_it_is_nearer_the_chances_than_the_scores_and_than_isotonic_steps() -> None:
    y, p, chance = overconfident(1, 3000)
    found = calibration_map(y, p)
    assert found.improves
    steps = IsotonicRegression().fit(p, y).predict(p)
    error = np.mean((found.chances(p) - chance) ** 2)
    assert error < 0.7 * np.mean((steps - chance) ** 2)
    assert error < 0.1 * np.mean((p - chance) ** 2)


def test_scores_that_are_right_are_kept() -> None:
    kept = 0
    for seed in range(30):
        y, _, chance = overconfident(seed, 1000)
        found = calibration_map(y, chance)
        kept += not found.improves
        if not found.improves:
            assert np.array_equal(found.chances(chance), chance)
    assert kept >= 24


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 150), st.booleans())
def test_it_rises_within_0_and_1_whatever_the_order_of_rows(seed: int, n: int, tied: bool) -> None:
    y, p, _ = overconfident(seed, n)
    p = np.round(p, 1) if tied else p
    found = calibration_map(y, p)
    assert np.all(np.diff(found.thresholds) > 0)
    assert np.all(np.diff(found.values) >= 0)
    assert 0 <= found.values[0] <= found.values[-1] <= 1
    assert found.rows.sum() == pytest.approx(n)
    back = calibration_map(y[::-1], p[::-1])
    assert back.fitted(p) == pytest.approx(found.fitted(p))
    assert back.improves == found.improves


def test_weights_are_as_repeated_rows_but_not_as_more_of_them() -> None:
    y, p, _ = overconfident(2, 400)
    p = np.round(p, 1)
    twice = np.arange(400) % 3 == 0
    found = calibration_map(y, p, np.where(twice, 2.0, 1.0))
    repeated = calibration_map(np.append(y, y[twice]), np.append(p, p[twice]))
    assert found.fitted(p) == pytest.approx(repeated.fitted(p))
    assert found.rows.sum() < 400


def test_it_says_what_lies_where_the_reference_has_nothing_or_little() -> None:
    p = np.append(np.full(500, 0.3), [0.6, 0.7])
    found = calibration_map(np.arange(502) % 2, p)
    seen = support([0.3, 0.3, 0.65, 0.9], found)
    assert (seen.outside, seen.thin) == (0.25, 0.5)
    assert np.isnan(support([], found).outside)


def test_what_cannot_be_fitted_is_refused() -> None:
    with pytest.raises(DataError, match="at least one labelled row"):
        calibration_map([], [])
    with pytest.raises(DataError, match="at least one labelled row"):
        calibration_map([1], [0.5], [0])
    with pytest.raises(DataError, match="one finite weight of 0 or more"):
        calibration_map([1, 0], [0.5, 0.2], [1, np.inf])
    assert calibration_map([1], [0.5]).fitted([0.1]) == 1
