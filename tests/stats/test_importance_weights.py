import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.errors import DataError
from gyroscope.stats.auc import roc_auc
from gyroscope.stats.calibration_map import calibration_map
from gyroscope.stats.cbpe import expected_performance
from gyroscope.stats.importance_weights import fitted_importance_weights, importance_weights


def hidden_strength(
    seed: int, n: int, share_of_weak: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, labels and scores of a model that does not see which rows are hard to tell."""
    rng = np.random.default_rng(seed)
    a, weak = rng.normal(size=n), rng.random(n) < share_of_weak
    chance = 1 / (1 + np.exp(-a * np.where(weak, 0.3, 2.0)))
    y = (rng.random(n) < chance).astype(float)
    return np.stack([a, weak.astype(float)], axis=1), y, 1 / (1 + np.exp(-1.4 * a))


def test_weights_are_odds_times_the_ratio_of_sizes_scaled_to_one() -> None:
    found = importance_weights([0.5, 0.75, 0.2], n_reference=200, n_current=100)
    raw = np.array([2.0, 6.0, 0.5])
    assert found.weights == pytest.approx(raw / raw.mean())
    assert found.effective_rows == pytest.approx(8.5**2 / (4 + 36 + 0.25))
    assert found.clipped == 0


def test_ratios_above_twenty_are_cut_and_said() -> None:
    found = importance_weights([0.5, 0.99, 1.0, 0.5], n_reference=10, n_current=10)
    assert found.weights == pytest.approx(np.array([1, 20, 20, 1]) / 10.5)
    assert found.clipped == 0.5


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=50))
def test_the_mean_is_one_and_no_more_rows_count_than_there_are(chances: list[float]) -> None:
    found = importance_weights(chances, n_reference=5, n_current=7)
    assert found.weights.mean() == pytest.approx(1)
    assert 1 - 1e-9 <= found.effective_rows <= len(chances) + 1e-9
    back = importance_weights(chances[::-1], n_reference=5, n_current=7)
    assert back.weights[::-1] == pytest.approx(found.weights)


def test_fitted_weights_are_near_the_true_ratios() -> None:
    X, _, _ = hidden_strength(0, 4000, 0.2)
    window, _, _ = hidden_strength(1, 2000, 0.8)
    found = fitted_importance_weights(X, window)
    weak = X[:, 1] == 1
    assert found.weights[weak].mean() == pytest.approx(4, rel=0.15)
    assert found.weights[~weak].mean() == pytest.approx(0.25, rel=0.15)


def test_weighted_estimates_are_right_where_plain_ones_are_biased() -> None:
    """Rows that score alike are harder in the window: the scores alone cannot know."""
    plain: list[float] = []
    weighted: list[float] = []
    for seed in range(4):
        X, y, p = hidden_strength(seed, 5000, 0.2)
        window, later, q = hidden_strength(100 + seed, 3000, 0.8)
        realised = roc_auc(later, q).value
        weights = fitted_importance_weights(X, window, seed=seed).weights
        for errors, w in ((plain, None), (weighted, weights)):
            found = expected_performance(q, 0.5, calibration_map(y, p, w)).metrics["roc_auc"]
            errors.append((found.value - realised) / found.standard_error)
    assert min(plain) > 5  # standard errors
    assert abs(np.mean(weighted)) < 1.5
    assert np.max(np.abs(weighted)) < 4


def test_what_cannot_be_weighted_is_refused() -> None:
    with pytest.raises(DataError, match="got 0 chances"):
        importance_weights([], n_reference=5, n_current=5)
    with pytest.raises(DataError, match="a chance above 0"):
        importance_weights([0.0], n_reference=5, n_current=5)
    with pytest.raises(DataError, match="50 rows of each sample"):
        fitted_importance_weights(np.zeros((10, 1)), np.zeros((100, 1)))
