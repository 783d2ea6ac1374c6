import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.stats.cbpe import expected_metrics
from gyroscope.stats.metrics import metrics


def draw(seed: int, n: int) -> np.ndarray:
    return np.round(np.random.default_rng(seed).beta(1.2, 3, n), 2)


@pytest.mark.parametrize("name", ["accuracy", "f1", "roc_auc", "log_loss", "brier"])
def test_expectation_and_error_are_those_of_labels_drawn_from_the_scores(name: str) -> None:
    p = draw(0, 400)
    rng = np.random.default_rng(1)
    realised = np.array([metrics(rng.random(400) < p, p, 0.3)[name].value for _ in range(400)])
    promised = expected_metrics(p, 0.3)[name]
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


def test_what_scores_do_not_determine_is_undefined() -> None:
    assert not any(found.defined for found in expected_metrics([], 0.5).values())
    assert not expected_metrics([0.0, 0.0], 0.5)["roc_auc"].defined
    assert not expected_metrics([0.0, 0.0], 0.5)["f1"].defined
    assert not expected_metrics([0.5], 0.5)["roc_auc"].defined
