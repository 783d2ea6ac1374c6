from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.stats.calibration_map import calibration_map
from gyroscope.stats.cbpe import expected_metrics, expected_performance
from gyroscope.stats.intervals import Estimate
from gyroscope.stats.metrics import metrics


def draw(seed: int, n: int) -> np.ndarray:
    return np.round(np.random.default_rng(seed).beta(1.2, 3, n), 2)


NAMES = ("accuracy", "precision", "recall", "f1", "roc_auc", "log_loss", "brier")


@pytest.fixture(scope="module")
def drawn() -> list[Mapping[str, Estimate]]:
    """The metrics of 400 sets of labels drawn from the same scores."""
    p, rng = draw(0, 400), np.random.default_rng(1)
    return [metrics(rng.random(400) < p, p, 0.3) for _ in range(400)]


@pytest.mark.parametrize("name", NAMES)
def test_expectation_and_error_are_those_of_labels_drawn_from_the_scores(
    name: str, drawn: list[Mapping[str, Estimate]]
) -> None:
    realised = np.array([found[name].value for found in drawn])
    promised = expected_metrics(draw(0, 400), 0.3)[name]
    noise = realised.std() / np.sqrt(400)
    assert promised.value == pytest.approx(realised.mean(), abs=4 * noise)
    assert promised.standard_error == pytest.approx(realised.std(), rel=0.15)
    inside = (promised.interval.low <= realised) & (realised <= promised.interval.high)
    assert inside.mean() == pytest.approx(0.95, abs=0.04)


def test_the_auc_of_all_pairs_compared() -> None:
    p = np.array([0.1, 0.4, 0.4, 0.8])
    above = (p[:, None] > p) + 0.5 * (p[:, None] == p)
    weight = p[:, None] * (1 - p)
    np.fill_diagonal(weight, 0.0)
    expected = float((weight * above).sum() / weight.sum())
    assert expected_metrics(p, 0.5)["roc_auc"].value == pytest.approx(expected)


@given(st.integers(0, 2**32 - 1), st.integers(1, 80), st.floats(0.05, 0.95))
def test_the_order_of_rows_does_not_matter_and_intervals_hold_their_values(
    seed: int, n: int, threshold: float
) -> None:
    p = draw(seed, n)
    there, back = expected_metrics(p, threshold), expected_metrics(p[::-1], threshold)
    for name, found in there.items():
        assert found.value == pytest.approx(back[name].value, nan_ok=True)
        if found.defined:
            assert found.interval.low <= found.value <= found.interval.high


def test_certain_scores_promise_perfection() -> None:
    found = expected_metrics([0.0, 1.0, 1.0], 0.5)
    assert found["accuracy"].value == found["f1"].value == found["roc_auc"].value == 1
    assert found["log_loss"].value == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_scores_of_zero_and_one_promise_no_more_than_all(share: float) -> None:
    p = (np.random.default_rng(1).random(1000) < share).astype(float)
    for name, found in expected_metrics(p, 0.5).items():
        if found.defined:
            best = 0.0 if name in ("log_loss", "brier") else 1.0
            assert 0 <= found.interval.low <= found.value <= found.interval.high
            assert found.interval.low <= best <= found.interval.high, name


@pytest.mark.parametrize("score", [0.1, 0.3, 0.7])
def test_a_constant_score_promises_an_auc_of_a_half(score: float) -> None:
    found = expected_metrics(np.full(1000, score), 0.5)["roc_auc"]
    assert found.interval.low <= 0.5 <= found.interval.high
    assert found.value == pytest.approx(0.5, abs=1e-9)


def test_what_scores_do_not_determine_is_undefined() -> None:
    assert not any(found.defined for found in expected_metrics([], 0.5).values())
    assert not expected_metrics([0.0, 0.0], 0.5)["roc_auc"].defined
    assert not expected_metrics([0.0, 0.0], 0.5)["f1"].defined
    assert not expected_metrics([0.5], 0.5)["roc_auc"].defined


def overconfident(rng: np.random.Generator, n: int, moved: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that are too extreme, of rows whose margin has moved."""
    margin = 1.5 * (rng.normal(size=n) + moved) - 1
    y = (rng.random(n) < 1 / (1 + np.exp(-margin))).astype(float)
    return y, 1 / (1 + np.exp(-1.7 * margin - 0.3))


def test_the_interval_covers_what_labels_show_of_a_shifted_window() -> None:
    """It holds the chance of the labels and the error of a reference as small as the window."""
    rng, runs = np.random.default_rng(0), 80
    covered = dict.fromkeys(NAMES, 0)
    for _ in range(runs):
        calibration = calibration_map(*overconfident(rng, 2000, 0.0))
        y, p = overconfident(rng, 2000, 0.5)
        realised = metrics(y, p, 0.5)
        for name, found in expected_performance(p, 0.5, calibration).metrics.items():
            covered[name] += found.interval.low <= realised[name].value <= found.interval.high
    for share in covered.values():
        assert share / runs == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / runs))


def test_scores_that_need_no_map_promise_what_they_are() -> None:
    rng = np.random.default_rng(1)
    reference, p = rng.beta(1.2, 3, 3000), draw(2, 500)
    calibration = calibration_map(rng.random(3000) < reference, reference)
    found = expected_performance(p, 0.3, calibration)
    assert not found.calibrated
    for name, plain in expected_metrics(p, 0.3).items():
        assert found.metrics[name].value == pytest.approx(plain.value)
        assert found.metrics[name].standard_error >= plain.standard_error


def test_metrics_are_of_the_scores_as_served_with_the_chances_of_the_map() -> None:
    calibration = calibration_map(np.arange(4000) % 10 < 3, np.full(4000, 0.6))
    found = expected_performance([0.6, 0.6], 0.5, calibration)
    assert found.calibrated
    assert found.metrics["accuracy"].value == pytest.approx(0.3)
    assert found.metrics["brier"].value == pytest.approx(0.3 * 0.16 + 0.7 * 0.36)
    assert found.metrics["roc_auc"].value == pytest.approx(0.5)


def test_a_window_beyond_the_reference_is_told() -> None:
    rng = np.random.default_rng(3)
    calibration = calibration_map(*overconfident(rng, 2000, 0.0))
    inside = expected_performance(overconfident(rng, 2000, 0.0)[1], 0.5, calibration).support
    beyond = expected_performance(overconfident(rng, 2000, 4.0)[1], 0.5, calibration).support
    assert inside.outside < 0.01
    assert inside.thin < 0.1
    assert beyond.thin >= beyond.outside > 0.2


def test_no_rows_promise_nothing() -> None:
    found = expected_performance([], 0.5, calibration_map([0, 1], [0.2, 0.7]))
    assert not any(estimate.defined for estimate in found.metrics.values())
