from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gyroscope.errors import DataError
from gyroscope.stats.auc import roc_auc
from gyroscope.stats.cbpe import expected_auc
from gyroscope.stats.class_cbpe import expected_class_metrics
from gyroscope.stats.class_losses import class_log_losses
from gyroscope.stats.class_metrics import chosen_class, class_metrics, macro_roc_auc

Vector = NDArray[np.float64]


def sample(seed: int, n: int, n_classes: int = 4) -> tuple[Vector, Vector]:
    """Classes drawn from the very scores that predict them."""
    random = np.random.default_rng(seed)
    margins = random.normal(size=(n, n_classes)) * 1.5
    p = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) < random.uniform(size=(n, 1))).sum(axis=1)
    return np.minimum(y, n_classes - 1).astype(np.float64), p


@pytest.mark.parametrize("n_classes", [3, 12])
def test_metrics_are_those_of_scikit_learn(n_classes: int) -> None:
    y, p = sample(1, 400, n_classes)
    found = class_metrics(y, p)
    expected = {
        "accuracy": sk.accuracy_score(y, p.argmax(axis=1)),
        "roc_auc": sk.roc_auc_score(y, p, multi_class="ovr", average="macro"),
        "log_loss": sk.log_loss(y, p),
        "brier": np.square(p - np.eye(n_classes)[y.astype(int)]).sum(axis=1).mean(),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(value, abs=1e-12)
        assert found[name].interval.low < value < found[name].interval.high
        assert found[name].n == 400


def test_the_calibration_error_is_that_of_the_class_chosen() -> None:
    y, p = sample(2, 3000)
    assert class_metrics(y, p)["calibration_error"].value < 0.05
    bold = np.where(p == p.max(axis=1, keepdims=True), 0.97, 0.01)
    assert class_metrics(y, bold)["calibration_error"].value > 0.25


def test_with_two_classes_the_macro_auc_is_the_auc_with_its_error() -> None:
    y, p = sample(3, 200, 2)
    macro, binary = macro_roc_auc(y, p), roc_auc(y, p[:, 1])
    assert macro.value == pytest.approx(binary.value, abs=1e-14)
    assert macro.standard_error == pytest.approx(binary.standard_error, rel=0.01)


def test_a_class_without_rows_is_left_out_of_the_macro_auc() -> None:
    y, p = sample(4, 300)
    y[y == 3] = 0
    aucs = [roc_auc((y == k).astype(float), p[:, k]).value for k in range(3)]
    assert macro_roc_auc(y, p).value == pytest.approx(np.mean(aucs))
    assert not macro_roc_auc(np.zeros(5), p[:5]).defined


def test_intervals_of_the_macro_auc_hold_as_often_as_they_say() -> None:
    truth = macro_roc_auc(*sample(5, 200_000)).value
    runs = 200
    held = 0
    for seed in range(runs):
        interval = macro_roc_auc(*sample(100 + seed, 150)).interval
        held += interval.low <= truth <= interval.high
    assert abs(held / runs - 0.95) < 3 * np.sqrt(0.95 * 0.05 / runs)


def test_expected_metrics_are_what_labels_show_as_often_as_they_say() -> None:
    runs = 200
    held = {"accuracy": 0, "roc_auc": 0, "log_loss": 0, "brier": 0}
    for seed in range(runs):
        y, p = sample(1000 + seed, 150)
        expected, shown = expected_class_metrics(p), class_metrics(y, p)
        for name in held:
            interval = expected[name].interval
            held[name] += interval.low <= shown[name].value <= interval.high
    for often in held.values():
        assert abs(often / runs - 0.95) < 3 * np.sqrt(0.95 * 0.05 / runs)


def test_with_two_classes_the_expected_macro_auc_is_that_of_binary_scores() -> None:
    _, p = sample(6, 300, 2)
    macro, binary = expected_class_metrics(p)["roc_auc"], expected_auc(p[:, 1])
    assert macro.value == pytest.approx(binary.value, abs=1e-12)
    assert macro.standard_error == pytest.approx(binary.standard_error, rel=1e-9)


def test_expected_metrics_of_sure_scores_are_sure() -> None:
    found = expected_class_metrics(np.eye(3))
    assert found["roc_auc"].value == 1
    assert [found[name].value for name in ("accuracy", "log_loss", "brier")] == [1, 0, 0]
    assert found["log_loss"].standard_error == 0
    assert not expected_class_metrics(np.empty((0, 3)))["accuracy"].defined


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60))
def test_the_order_of_the_rows_does_not_matter(seed: int, n: int) -> None:
    y, p = sample(seed, n)
    order = np.random.default_rng(seed).permutation(n)
    one, two = class_metrics(y, p), class_metrics(y[order], p[order])
    for name in one:
        assert one[name].value == pytest.approx(two[name].value, nan_ok=True)


def test_the_first_of_equal_scores_is_chosen_and_a_sure_error_stays_finite() -> None:
    right, confidence = chosen_class([0, 1], [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]])
    assert (right.tolist(), confidence.tolist()) == ([1, 0], [0.5, 0.5])
    assert class_log_losses([2], [[0.5, 0.5, 0.0]])[0] == pytest.approx(36.04, abs=0.01)
    assert class_log_losses([2], [[0.5, 0.5, 0.0]], floor=1e-3)[0] == pytest.approx(6.908, abs=1e-3)


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1], [[0.5, 0.5]], "a class for each row of scores"),
        ([0], [0.5], "a class for each row of scores"),
        ([2], [[0.5, 0.5]], "whole numbers from 0 to 1"),
        ([0.5], [[0.5, 0.5]], "whole numbers from 0 to 1"),
        ([0], [[1.5, 0.5]], r"scores must lie in \[0, 1\]"),
        ([0], [[np.nan, 0.5]], r"scores must lie in \[0, 1\]"),
    ],
)
def test_classes_and_scores_that_cannot_be_used_are_refused(
    y: list[float], p: list[object], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        class_log_losses(y, p)  # type: ignore[arg-type]


def test_no_rows_determine_nothing() -> None:
    found = class_metrics(np.empty(0), np.empty((0, 3)))
    assert not any(estimate.defined for estimate in found.values())
