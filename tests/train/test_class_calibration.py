"""Links of several classes, and of values, chosen on rows the model was not fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.class_link import ClassLink, softmax
from gyroscope.bundle.links import Link
from gyroscope.stats.class_losses import class_log_losses
from gyroscope.train.calibration import calibrate

AS_IT_IS = ClassLink(kind="softmax", shifts=(0.0,) * 4)


def made(seed: int, n: int, *, scale: float = 1.0, shift: float = 0.0) -> tuple[Matrix, Vector]:
    """Raw margins, and classes drawn by the softmax of ``scale * raw``, the last one shifted."""
    random = np.random.default_rng(seed)
    raw = random.normal(size=(n, 4)) * 2
    p = softmax(raw * scale + shift * np.array([0, 0, 0, 1]))
    y = (p.cumsum(axis=1) < random.uniform(size=(n, 1))).sum(axis=1)
    return raw, np.minimum(y, 3).astype(np.float64)


def test_margins_that_are_right_are_left_alone() -> None:
    found = calibrate("multiclass", AS_IT_IS, *made(0, 3000))
    assert (found.method, found.link) == ("none", AS_IT_IS)


def test_margins_that_are_too_bold_and_shifted_are_put_right() -> None:
    raw, y = made(1, 4000, scale=0.5, shift=1.0)
    found = calibrate("multiclass", AS_IT_IS, raw, y)
    assert found.method == "temperature"
    assert isinstance(found.link, ClassLink)
    assert found.link.scale == pytest.approx(0.5, abs=0.05)
    assert found.link.shifts[3] - found.link.shifts[0] == pytest.approx(1.0, abs=0.15)
    assert found.loss < class_log_losses(y, softmax(raw)).mean() - 0.1


def test_the_fit_is_that_of_another_optimiser() -> None:
    raw, y = made(2, 500, scale=0.4, shift=-1.0)
    link = calibrate("multiclass", AS_IT_IS, raw, y).link
    assert isinstance(link, ClassLink)
    spread = raw.std()

    def loss(at: Vector) -> float:
        p = softmax(at[0] / spread * raw + at[1:])
        prior = (1e-2 * at[0] ** 2 + np.square(at[1:]).sum()) / 2
        return float(class_log_losses(y, p).sum() + prior)

    theirs = optimize.minimize(loss, np.ones(5), method="Powell", tol=1e-10).x
    np.testing.assert_allclose(link.shifts, theirs[1:], atol=2e-3)
    assert link.scale == pytest.approx(theirs[0] / spread, abs=1e-3)


def test_shares_that_are_too_timid_become_probabilities() -> None:
    raw, y = made(3, 4000)
    timid: Matrix = 0.5 * softmax(raw) + 0.125
    link = ClassLink(kind="shares", shifts=(0.0,) * 4)
    found = calibrate("multiclass", link, timid, y)
    assert found.link.kind == "softmax"
    assert found.loss < class_log_losses(y, timid).mean() - 0.05


def test_a_class_that_no_row_has_keeps_a_probability() -> None:
    raw, y = made(4, 400)
    y[y == 3] = 0
    link = calibrate("multiclass", AS_IT_IS, raw, y).link
    p = link.probability(link.margin(raw))
    assert (p[:, 3] > 0).all()
    assert np.isfinite(p).all()


def test_one_margin_for_all_rows_is_no_trouble() -> None:
    y = np.tile([0.0, 1.0, 2.0, 3.0], 50)
    for margin in (0.0, -1e3):
        found = calibrate("multiclass", AS_IT_IS, np.full((200, 4), margin), y)
        np.testing.assert_allclose(found.scores, 0.25, atol=1e-6)


def test_values_that_are_right_are_left_alone_and_others_put_on_a_line() -> None:
    random = np.random.default_rng(5)
    raw = np.asarray(random.normal(size=1000) * 3, dtype=np.float64)
    y = np.asarray(raw + random.normal(size=1000), dtype=np.float64)
    units = Link(kind="value", scale=2.0, shift=1.0)
    assert calibrate("regression", Link(kind="value"), raw, y).method == "none"
    found = calibrate("regression", units, raw, y)
    assert found.method == "line"
    assert isinstance(found.link, Link)
    slope, intercept = np.polyfit(raw, y, 1)
    assert (found.link.scale, found.link.shift) == pytest.approx((slope, intercept))
    assert found.loss == pytest.approx(np.square(y - found.scores).mean())
