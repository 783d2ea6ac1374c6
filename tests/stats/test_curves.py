import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from gyroscope.errors import DataError, UsageError
from gyroscope.stats.confusion import confusion, f1
from gyroscope.stats.curves import precision_recall_curve, roc_curve
from gyroscope.stats.thresholds import cost_threshold, f1_threshold


def draw(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = np.round(rng.random(60), 2)
    y = (rng.random(60) < p).astype(float)
    y[:2] = 0, 1
    return y, p


@given(st.integers(0, 2**32 - 1))
def test_the_curves_are_scikit_learns(seed: int) -> None:
    y, p = draw(seed)
    roc = roc_curve(y, p)
    fpr, tpr, thresholds = sk.roc_curve(y, p, drop_intermediate=False)
    np.testing.assert_allclose(roc.false_positive_rate, fpr)
    np.testing.assert_allclose(roc.true_positive_rate, tpr)
    np.testing.assert_allclose(roc.thresholds, thresholds)
    curve = precision_recall_curve(y, p)
    precision, recall, thresholds = sk.precision_recall_curve(y, p)
    np.testing.assert_allclose(curve.precision[::-1], precision[:-1])
    np.testing.assert_allclose(curve.recall[::-1], recall[:-1])
    np.testing.assert_allclose(curve.thresholds[::-1], thresholds)


@given(st.integers(0, 2**32 - 1))
def test_no_threshold_has_a_higher_f1_than_the_chosen_one(seed: int) -> None:
    y, p = draw(seed)
    best = f1(confusion(y, p, f1_threshold(y, p))).value
    assert best == pytest.approx(max(f1(confusion(y, p, t)).value for t in np.unique(p)))


def test_acting_pays_from_the_share_of_the_costs_on() -> None:
    assert cost_threshold(false_positive=1, false_negative=4) == pytest.approx(0.2)
    with pytest.raises(UsageError, match="both costs must be above 0, got 0"):
        cost_threshold(false_positive=0, false_negative=4)


def test_a_curve_of_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="both classes"):
        roc_curve([1, 1], [0.1, 0.2])
    with pytest.raises(DataError, match="at least one row of class 1"):
        precision_recall_curve([0, 0], [0.1, 0.2])
    with pytest.raises(DataError, match="at least one row of class 1"):
        f1_threshold([], [])
