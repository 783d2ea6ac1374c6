import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.errors import DataError, UsageError
from gyroscope.stats.metrics import metrics
from gyroscope.stats.reweighting import DriftPrice, drift_price

CELLS, BINS, THRESHOLD_BIN = 4, 10, 5
SCORES = np.linspace(0.05, 0.95, BINS)
WAS, NOW = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.1, 0.2, 0.3, 0.4])


def joint() -> np.ndarray:
    """Chance of score bin and label in each cell; the later cells are harder."""
    share = np.random.default_rng(0).dirichlet(np.full(BINS, 5.0), CELLS)
    chance = 0.5 + (SCORES - 0.5) * np.array([1.0, 0.8, 0.5, 0.2])[:, None]
    return np.stack([share * (1 - chance), share * chance], axis=2)


def table(seed: int, rows: int) -> np.ndarray:
    shares = (WAS[:, None, None] * joint()).ravel()
    return np.random.default_rng(seed).multinomial(rows, shares).reshape(CELLS, BINS, 2)


def priced(outcomes: np.ndarray, current: np.ndarray) -> DriftPrice:
    reference = outcomes.sum(axis=(1, 2))
    return drift_price(outcomes, SCORES, reference, current, threshold_bin=THRESHOLD_BIN)


def repeated(outcomes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The table of all cells together as rows of labels and scores."""
    counts = outcomes.sum(axis=0).astype(int)
    y = np.tile([0.0, 1.0], BINS)
    return np.repeat(y, counts.ravel()), np.repeat(np.repeat(SCORES, 2), counts.ravel())


def test_it_is_the_difference_of_the_metrics_of_rows_written_out() -> None:
    outcomes = table(0, 500)
    factors = np.array([0, 1, 2, 3])
    price = priced(outcomes, outcomes.sum(axis=(1, 2)) * factors)
    before = metrics(*repeated(outcomes), 0.5)
    after = metrics(*repeated(outcomes * factors[:, None, None]), 0.5)
    for name, cost in price.costs.items():
        worse = 1 if name in ("log_loss", "brier") else -1
        assert cost.value == pytest.approx(worse * (after[name].value - before[name].value))


def test_the_interval_covers_the_price_of_the_populations() -> None:
    exact = priced(np.round(WAS[:, None, None] * joint() * 1e9), NOW * 1e9)
    rng = np.random.default_rng(1)
    runs = 300
    found = [priced(table(seed, 2000), rng.multinomial(800, NOW)).costs for seed in range(runs)]
    for name, truth in exact.costs.items():
        intervals = [costs[name].interval for costs in found]
        covered = np.mean([i.low <= truth.value <= i.high for i in intervals])
        assert covered == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / runs))
        errors = np.mean([costs[name].standard_error for costs in found])
        spread = np.std([costs[name].value for costs in found])
        assert errors == pytest.approx(spread, rel=4 / math.sqrt(2 * runs))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 400))
def test_equal_shares_cost_nothing_and_the_order_of_cells_does_not_matter(
    seed: int, rows: int
) -> None:
    outcomes = table(seed, rows)
    for cost in priced(outcomes, 3 * outcomes.sum(axis=(1, 2))).costs.values():
        assert not cost.defined or cost.value == pytest.approx(0, abs=1e-9)
    current = np.array([1, 2, 3, 4])
    there, back = priced(outcomes, current), priced(outcomes[::-1], current[::-1])
    assert there.unsupported == pytest.approx(back.unsupported)
    for name, cost in there.costs.items():
        assert cost.value == pytest.approx(back.costs[name].value, abs=1e-9, nan_ok=True)


def test_more_rows_of_hard_cells_cost_on_every_metric() -> None:
    costs = priced(table(2, 20_000), np.round(NOW * 20_000)).costs
    assert all(cost.interval.low > 0 for name, cost in costs.items() if name != "precision")


def test_what_has_no_labelled_rows_is_said_and_left_out() -> None:
    outcomes = table(3, 500)
    outcomes[3] = 0
    reference = outcomes.sum(axis=(1, 2))
    price = priced(outcomes, reference + np.array([0, 0, 0, reference.sum()]))
    assert price.unsupported == pytest.approx(0.5)
    assert price.costs["accuracy"].value == pytest.approx(0, abs=1e-12)


def test_nothing_to_stand_on_is_undefined() -> None:
    empty = drift_price(np.zeros((2, 3, 2)), [0.1, 0.5, 0.9], [5, 5], [5, 5], threshold_bin=1)
    assert empty.unsupported == 1
    assert not any(cost.defined for cost in empty.costs.values())
    nobody = priced(table(4, 100), np.zeros(CELLS))
    assert math.isnan(nobody.unsupported)


def test_nothing_selected_leaves_precision_undefined() -> None:
    outcomes = table(5, 100)
    price = drift_price(outcomes, SCORES, WAS * 100, NOW * 100, threshold_bin=BINS)
    assert not price.costs["precision"].defined
    assert price.costs["accuracy"].defined


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"counts\[2 cells, 1 score bins, 2 labels\]"):
        drift_price(np.zeros((3, 1, 2)), [0.5], [1, 1], [1, 1], threshold_bin=0)
    with pytest.raises(DataError, match="rise from bin to bin"):
        drift_price(np.zeros((1, 2, 2)), [0.5, 0.1], [1], [1], threshold_bin=0)
    with pytest.raises(DataError, match="counts of 0 or more"):
        drift_price(np.full((1, 1, 2), -1), [0.5], [1], [1], threshold_bin=0)
    with pytest.raises(UsageError, match=r"0 \.\. 1, got 2"):
        drift_price(np.zeros((1, 1, 2)), [0.5], [1], [1], threshold_bin=2)
