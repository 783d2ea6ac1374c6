"""Contributions to the probability: they add up, and are the Aumann-Shapley values of the link."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.bundle.base import Contributions
from gyroscope.bundle.explanation import in_probability
from gyroscope.bundle.links import Link
from gyroscope.testing.worlds import CALM, tiny_bundle

LOGISTIC = Link(kind="logistic")
ISOTONIC = Link(kind="isotonic", margins=(-3.0, -0.5, 0.5, 3.0), probabilities=(0.1, 0.2, 0.2, 0.9))
IDENTITY = Link(kind="identity")
values = st.lists(st.floats(-30, 30), min_size=1, max_size=12)


def explained(link: Link, base: float, row: list[float]) -> tuple[Contributions, float]:
    """The contributions to the probability of one row, and that probability."""
    X = np.array([row])
    margins = base + X.sum(axis=1)
    found = in_probability(Contributions(values=X, base=base), margins, link)
    return found, float(link.probability(margins)[0])


@pytest.mark.parametrize("link", [LOGISTIC, ISOTONIC, IDENTITY])
@given(base=st.floats(-5, 5), row=values)
def test_base_and_contributions_add_up_to_the_probability(
    link: Link, base: float, row: list[float]
) -> None:
    found, p = explained(link, base, row)
    assert found.base + found.values.sum() == pytest.approx(p, abs=1e-9)
    assert found.base == link.probability(np.array([base]))[0]


@given(base=st.floats(-5, 5), row=values)
def test_no_feature_changes_its_sign_or_its_rank(base: float, row: list[float]) -> None:
    found = explained(LOGISTIC, base, row)[0].values[0]
    assert (found * np.array(row) >= 0).all()
    order = np.argsort(row)
    assert (np.diff(found[order]) >= -1e-15).all()


def test_they_are_the_integral_along_the_straight_way() -> None:
    row, base = np.array([1.5, -0.7, 2.0]), -2.0
    found = explained(LOGISTIC, base, row.tolist())[0].values[0]
    t, weight = np.polynomial.legendre.leggauss(40)
    p = LOGISTIC.probability(base + (t + 1) / 2 * row.sum())
    slope = (weight / 2) @ (p * (1 - p))  # of the logistic function, on average along the way
    np.testing.assert_allclose(found, row * slope, atol=1e-12)


def test_contributions_that_cancel_are_measured_by_the_slope() -> None:
    found, p = explained(LOGISTIC, 0.0, [2.0, -2.0])
    np.testing.assert_allclose(found.values[0], [0.5, -0.5], atol=1e-9)
    assert p == 0.5


def test_where_the_table_is_flat_nothing_contributes() -> None:
    assert not explained(ISOTONIC, 0.0, [0.2, -0.1])[0].values.any()


def test_a_bundle_explains_in_either_space() -> None:
    bundle = tiny_bundle()
    X = bundle.encoder.encode_rows([event.row for event in CALM.events(0, 1)])
    found = bundle.contributions(X, space="probability")
    total = found.base + found.values.sum(axis=1)
    np.testing.assert_allclose(total, bundle.probabilities(X), atol=1e-9)
    alone = bundle.contributions(X[3:4], space="probability")
    np.testing.assert_allclose(alone.values, found.values[3:4], atol=1e-12)
