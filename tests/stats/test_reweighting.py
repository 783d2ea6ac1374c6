import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.errors import DataError, UsageError
from gyroscope.stats.class_metrics import macro_auc_influence, macro_roc_auc
from gyroscope.stats.metrics import metrics
from gyroscope.stats.reweighting import (
    CellLosses,
    ClassRanks,
    DriftPrice,
    drift_price,
    expected_losses,
    loss_price,
    macro_auc_price,
)
from gyroscope.stats.value_metrics import value_metrics

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


# -- means of losses, and the ranks of several classes ----------------------------------------

VALUES = ("rmse", "mae")
SPREADS = np.array([1.0, 1.0, 2.0, 4.0])  # of the errors in each cell


def errors(seed: int, rows: int, shares: np.ndarray = WAS) -> tuple[np.ndarray, np.ndarray]:
    """The cell and the error of each row."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(CELLS, rows, p=shares)
    return cells, SPREADS[cells] * rng.normal(size=rows)


def losses(cells: np.ndarray, of_rows: np.ndarray, count: int = CELLS) -> CellLosses:
    sums, squares = (
        np.array([np.bincount(cells, x, minlength=count) for x in each])
        for each in (of_rows, of_rows**2)
    )
    rows = np.bincount(cells, minlength=count)
    return CellLosses(rows=rows, sums=sums, squares=squares)


def of_errors(cells: np.ndarray, of: np.ndarray) -> CellLosses:
    return losses(cells, np.array([of**2, np.abs(of)]))


def test_prices_of_errors_are_the_difference_of_the_metrics_of_rows_written_out() -> None:
    cells, of = errors(0, 400)
    counts = np.bincount(cells)
    factors = np.array([1, 2, 3, 4])
    costs = loss_price(of_errors(cells, of), VALUES, counts, counts * factors).costs
    again = np.repeat(of, factors[cells])
    before, after = (value_metrics(np.zeros(len(x)), x) for x in (of, again))
    for name in VALUES:
        assert costs[name].value == pytest.approx(after[name].value - before[name].value)


def test_the_interval_of_a_price_of_errors_covers_that_of_the_populations() -> None:
    rmse = [math.sqrt(shares @ SPREADS**2) for shares in (WAS, NOW)]
    mae = [math.sqrt(2 / math.pi) * (shares @ SPREADS) for shares in (WAS, NOW)]
    truth = dict(zip(VALUES, (rmse[1] - rmse[0], mae[1] - mae[0]), strict=True))
    runs, covered = 300, dict.fromkeys(VALUES, 0)
    for seed in range(runs):
        cells, of = errors(seed, 1000)
        now = np.random.default_rng([1, seed]).multinomial(500, NOW)
        costs = loss_price(of_errors(cells, of), VALUES, np.bincount(cells), now).costs
        for name, cost in costs.items():
            covered[name] += cost.interval.low <= truth[name] <= cost.interval.high
    for often in covered.values():
        assert often / runs == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / runs))


def test_expected_errors_are_what_labels_show_as_often_as_they_say() -> None:
    runs, held = 300, dict.fromkeys(VALUES, 0)
    for seed in range(runs):
        known = of_errors(*errors(seed, 1000))
        cells, of = errors(10_000 + seed, 300, NOW)
        expected = expected_losses(known, VALUES, np.bincount(cells, minlength=CELLS)).metrics
        shown = value_metrics(np.zeros(len(of)), of)
        for name, estimate in expected.items():
            held[name] += estimate.interval.low <= shown[name].value <= estimate.interval.high
    for often in held.values():
        assert often / runs == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / runs))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.floats(1e-3, 1e3))
def test_prices_of_errors_know_no_order_and_grow_with_the_unit(
    seed: int, rows: int, unit: float
) -> None:
    cells, of = errors(seed, rows)
    then, now = np.bincount(cells, minlength=CELLS), np.array([1, 2, 3, 4])
    there = loss_price(of_errors(cells, of), VALUES, then, now)
    turned = of_errors(CELLS - 1 - cells, unit * of)
    back = loss_price(turned, VALUES, then[::-1], now[::-1])
    assert there.unsupported == pytest.approx(back.unsupported)
    assert there.effective_rows == pytest.approx(back.effective_rows)
    assert there.effective_rows <= rows * (1 + 1e-9)
    for name in VALUES:
        assert back.costs[name].value == pytest.approx(
            unit * there.costs[name].value, abs=1e-9 * unit, nan_ok=True
        )
        same = loss_price(of_errors(cells, of), VALUES, then, 2 * then).costs[name]
        assert same.value == pytest.approx(0, abs=1e-9)


def test_few_labelled_rows_under_much_of_the_window_are_worth_as_many() -> None:
    cells = np.repeat([0, 1], [1000, 4])
    price = loss_price(of_errors(cells, np.ones(1004)), VALUES, [1000, 4, 0, 0], [10, 90, 0, 0])
    assert price.effective_rows == pytest.approx(1 / (0.01 / 1000 + 0.81 / 4))
    alone = drift_price(table(6, 1000), SCORES, WAS * 1000, NOW * 1000, threshold_bin=THRESHOLD_BIN)
    assert 100 < alone.effective_rows < 1000


def ranked(labels: np.ndarray, scores: np.ndarray, cells: np.ndarray) -> ClassRanks:
    classes = scores.shape[1]
    own = np.array([np.bincount(cells[labels == k], minlength=CELLS) for k in range(classes)])
    won = np.zeros((classes, CELLS, CELLS))
    for k in range(classes):
        mine, others = labels == k, labels != k
        gaps = scores[mine, k][:, None] - scores[others, k]
        at = np.ix_(cells[mine], cells[others])
        np.add.at(won[k], np.broadcast_arrays(*at), (gaps > 0) + (gaps == 0) / 2)
    found = macro_auc_influence(labels, scores)
    assert found is not None
    return ClassRanks(own=own, won=won, influence=losses(cells, found[1][None]))


def classes(seed: int, rows: int, shares: np.ndarray = WAS) -> tuple[np.ndarray, ...]:
    """Classes, scores that say less of them in later cells, and the cells."""
    rng = np.random.default_rng(seed)
    cells = rng.choice(CELLS, rows, p=shares)
    margins = np.round(rng.normal(size=(rows, 3)), 1)
    noise = rng.gumbel(size=(rows, 3)) * SPREADS[cells][:, None] / 2
    p = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    return (margins + noise).argmax(axis=1), p, cells


def test_the_price_of_the_macro_auc_is_that_of_rows_written_out() -> None:
    labels, p, cells = classes(0, 300)
    factors = np.array([1, 2, 3, 4])
    counts, again = np.bincount(cells), factors[cells]
    cost = macro_auc_price(ranked(labels, p, cells), counts, counts * factors)
    after = macro_roc_auc(np.repeat(labels, again), np.repeat(p, again, axis=0))
    assert cost.value == pytest.approx(macro_roc_auc(labels, p).value - after.value)
    nothing = macro_auc_price(ranked(labels, p, cells), counts, 2 * counts)
    assert nothing.value == pytest.approx(0, abs=1e-12)
    assert not macro_auc_price(ranked(labels, p, cells), counts, np.zeros(CELLS)).defined


def test_the_interval_of_the_price_of_the_macro_auc_covers_that_of_the_populations() -> None:
    truth = [macro_roc_auc(*classes(1, 300_000, shares)[:2]).value for shares in (WAS, NOW)]
    runs, held = 80, 0
    for seed in range(runs):
        labels, p, cells = classes(100 + seed, 500)
        now = np.random.default_rng([2, seed]).multinomial(400, NOW)
        interval = macro_auc_price(ranked(labels, p, cells), np.bincount(cells), now).interval
        held += interval.low <= truth[0] - truth[1] <= interval.high
    assert held / runs == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / runs))


def test_losses_that_cannot_be_used_are_refused() -> None:
    known = of_errors(*errors(2, 50))
    with pytest.raises(DataError, match=r"sums\[1 losses, 4 cells\], got shapes \(4,\), \(2, 4\)"):
        loss_price(known, ("mae",), WAS, NOW)
    with pytest.raises(DataError, match="losses must be finite"):
        expected_losses(of_errors(np.array([0]), np.array([np.inf])), VALUES, WAS)
    empty = expected_losses(known, VALUES, np.zeros(CELLS))
    assert not empty.metrics["mae"].defined
