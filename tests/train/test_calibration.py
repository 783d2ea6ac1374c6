from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gyroscope.bundle.links import Link, expit
from gyroscope.stats.losses import log_losses
from gyroscope.train.calibration import calibrate

LOG_ODDS, PROBABILITY = Link(kind="logistic"), Link(kind="identity")
Vector = NDArray[np.float64]


def made(seed: int, n: int, *, scale: float = 1.0, shift: float = 0.0) -> tuple[Vector, Vector]:
    """Margins and labels with ``logit P(y = 1) = scale * margin + shift``."""
    random = np.random.default_rng(seed)
    raw = random.normal(size=n) * 1.5
    y = (random.uniform(size=n) < expit(scale * raw + shift)).astype(np.float64)
    return raw, y


def test_margins_that_are_right_already_are_left_alone() -> None:
    found = calibrate("binary", LOG_ODDS, *made(0, 4000))
    assert (found.method, found.link) == ("none", LOG_ODDS)


def test_margins_that_are_too_bold_and_shifted_are_put_right_by_a_line() -> None:
    raw, y = made(1, 4000, scale=0.4, shift=-1.0)
    found = calibrate("binary", LOG_ODDS, raw, y)
    assert found.method == "sigmoid"
    assert found.link.scale == pytest.approx(0.4, abs=0.08)
    assert isinstance(found.link, Link)
    assert found.link.shift == pytest.approx(-1.0, abs=0.1)


def test_margins_of_another_shape_are_put_right_by_a_table() -> None:
    random = np.random.default_rng(2)
    raw = random.uniform(-3, 3, 8000)
    truth = np.where(raw < 0, 0.2, np.where(raw < 2, 0.5, 0.95))
    y = (random.uniform(size=8000) < truth).astype(np.float64)
    found = calibrate("binary", LOG_ODDS, raw, y)
    assert found.method == "isotonic"
    p = found.link.probability(found.link.margin(np.array([-2.0, 1.0, 2.9])))
    assert p == pytest.approx([0.2, 0.5, 0.95], abs=0.05)
    assert found.loss < log_losses(y, expit(raw)).mean() - 0.05


def test_a_table_needs_many_rows_of_both_classes() -> None:
    random = np.random.default_rng(3)
    raw = random.uniform(-3, 3, 1500)
    y = (random.uniform(size=1500) < np.where(raw < 0, 0.2, 0.5)).astype(np.float64)
    assert calibrate("binary", LOG_ODDS, raw, y).method in ("none", "sigmoid")


def test_a_step_of_one_class_is_no_certainty() -> None:
    raw = np.linspace(-1, 1, 4000)
    y = (raw > 0).astype(np.float64)
    link = calibrate("binary", PROBABILITY, np.clip(raw + 0.5, 0, 1) * 0.2 + 0.4, y).link
    p = link.probability(link.margin(np.array([0.0, 1.0])))
    assert 0 < p.min() < 0.01
    assert 0.99 < p.max() < 1


@settings(max_examples=25)
@given(
    st.integers(0, 1000),
    st.integers(30, 3000),
    st.floats(-1, 3),
    st.floats(-3, 3),
    st.sampled_from([LOG_ODDS, PROBABILITY]),
)
def test_no_choice_makes_the_log_loss_worse(
    seed: int, n: int, scale: float, shift: float, link: Link
) -> None:
    raw, y = made(seed, n, scale=scale, shift=shift)
    y[:5], y[5:10] = 0, 1
    raw = raw if link is LOG_ODDS else expit(raw)
    found = calibrate("binary", link, raw, y)
    before = log_losses(y, link.probability(link.margin(raw))).mean()
    assert found.loss <= before + 1e-12
    assert found.loss == pytest.approx(log_losses(y, found.scores).mean())


@pytest.mark.parametrize("every", [5, 10, 100])
def test_a_rare_class_at_regular_distances_is_in_every_fold(every: int) -> None:
    raw, _ = made(4, 5 * every)
    y = (np.arange(5 * every) % every == 0).astype(np.float64)
    found = calibrate("binary", LOG_ODDS, raw, y)
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("margin", [0.0, -1.3, 0.1 + 0.2])
def test_one_margin_for_all_rows_gets_the_base_rate(margin: float) -> None:
    raw = np.full(1000, margin)
    y = (np.arange(1000) % 5 == 0).astype(np.float64)
    found = calibrate("binary", LOG_ODDS, raw, y)
    p = found.link.probability(found.link.margin(raw))
    assert p == pytest.approx(np.full(1000, 0.2), abs=1e-3)
    assert abs(found.link.scale) < 10


def test_calibration_does_not_depend_on_chance() -> None:
    raw, y = made(5, 1000, scale=0.5)
    assert calibrate("binary", LOG_ODDS, raw, y).link == calibrate("binary", LOG_ODDS, raw, y).link
