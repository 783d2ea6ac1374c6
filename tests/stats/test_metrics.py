"""Every metric against scikit-learn, and the coverage of the intervals."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from gyroscope.stats.confusion import confusion, f1, precision
from gyroscope.stats.losses import log_losses
from gyroscope.stats.metrics import LOWER_IS_BETTER, metrics


def draw(seed: int, n: int, decimals: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = np.round(rng.beta(1.5, 3, n), decimals)
    return (rng.random(n) < p).astype(float), p


@given(st.integers(0, 2**32 - 1), st.integers(20, 300), st.floats(0.05, 0.9))
def test_the_values_are_scikit_learns(seed: int, n: int, threshold: float) -> None:
    y, p = draw(seed, n)
    y[:2] = 0, 1
    decided = p >= threshold
    expected = {
        "accuracy": sk.accuracy_score(y, decided),
        "precision": sk.precision_score(y, decided, zero_division=math.nan),
        "recall": sk.recall_score(y, decided),
        "specificity": sk.recall_score(y, decided, pos_label=0),
        "f1": sk.f1_score(y, decided),
        "roc_auc": sk.roc_auc_score(y, p),
        "pr_auc": sk.average_precision_score(y, p),
        "log_loss": sk.log_loss(y, p),
        "brier": sk.brier_score_loss(y, p),
    }
    found = metrics(y, p, threshold)
    assert set(found) == {*expected, "calibration_error"}
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-10, nan_ok=True), name


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_every_interval_holds_its_value_and_stays_in_range(seed: int, n: int) -> None:
    y, p = draw(seed, n)
    for name, found in metrics(y, p, 0.5).items():
        assert found.interval.low <= found.interval.high
        if found.defined:
            assert found.interval.low <= found.value <= found.interval.high, name
        if name not in LOWER_IS_BETTER:
            assert found.interval.low >= 0
            assert found.interval.high <= 1


@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_the_order_of_rows_does_not_matter(seed: int, n: int) -> None:
    y, p = draw(seed, n)
    order = np.random.default_rng(seed + 1).permutation(n)
    there, back = metrics(y, p, 0.5), metrics(y[order], p[order], 0.5)
    for name, found in there.items():
        assert found.value == pytest.approx(back[name].value, nan_ok=True), name


def test_what_no_rows_determine_is_undefined() -> None:
    assert not any(found.defined for found in metrics([], [], 0.5).values())
    of_one_class = metrics([0, 0, 0], [0.1, 0.2, 0.3], 0.5)
    assert not of_one_class["roc_auc"].defined
    assert not of_one_class["precision"].defined
    assert of_one_class["accuracy"].value == 1


def test_counts_of_a_small_table() -> None:
    counts = confusion([1, 1, 0, 0, 1], [0.9, 0.5, 0.5, 0.1, 0.2], threshold=0.5)
    assert counts.true_positive == 2
    assert counts.false_positive == 1
    assert counts.false_negative == 1
    assert counts.true_negative == 1
    assert precision(counts).value == pytest.approx(2 / 3)


def test_the_error_of_f1_is_the_delta_methods() -> None:
    # With TP = a and FP + FN = e of n rows the multinomial delta method gives
    # Var F1 = 4 a e (a + e) / (2 a + e)^4.
    y = [1] * 60 + [0] * 25 + [1] * 15 + [0] * 100
    p = [0.9] * 85 + [0.1] * 115
    a, e = 60, 40
    expected = math.sqrt(4 * a * e * (a + e) / (2 * a + e) ** 4)
    assert f1(confusion(y, p, 0.5)).standard_error == pytest.approx(expected)


def test_a_sure_error_costs_36_nats_not_infinity() -> None:
    assert log_losses([1], [0.0])[0] == pytest.approx(36.04, abs=0.01)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    truth = metrics(*draw(0, 1_000_000, decimals=6), 0.4)
    found = [metrics(*draw(seed, 300, decimals=6), 0.4) for seed in range(1, 301)]
    for name in set(truth) - {"calibration_error"}:
        intervals = [f[name].interval for f in found]
        covered = np.mean([i.low <= truth[name].value <= i.high for i in intervals])
        # Three standard errors of 300 runs are 0.038; average precision's interval is conservative.
        assert covered >= 0.95 - 0.04, name
        assert name == "pr_auc" or covered <= 0.95 + 0.04, name
