import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.errors import DataError
from gyroscope.stats.dependence import (
    CrossProducts,
    DependenceChange,
    cross_products,
    dependence_change,
    dependence_changes,
)
from gyroscope.stats.rank_scores import normal_scores

KINDS = ["heavy-tailed", "tied", "discrete", "rare"]


def related(rng: np.random.Generator, n: int, columns: int, r: float) -> np.ndarray:
    """Normals[n, columns] that correlate by r with each other."""
    shared = rng.normal(size=(n, 1))
    return math.sqrt(r) * shared + math.sqrt(1 - r) * rng.normal(size=(n, columns))


def codes(x: np.ndarray, kind: str) -> np.ndarray:
    """Cells of columns of one kind, made of normals."""
    if kind == "heavy-tailed":  # a few far cells, most rows in the middle ones
        return np.asarray(np.clip(np.sign(x) * np.abs(x) ** 3 * 4 + 100, 0, 200), dtype=np.int64)
    if kind == "tied":  # half of the rows are 0
        return np.asarray(np.clip(x * 20, 0, 60), dtype=np.int64)
    return np.asarray(x > (1.0 if kind == "discrete" else 2.5), dtype=np.int64)


def summed(cells: np.ndarray, reference: list[np.ndarray]) -> CrossProducts:
    """The cross-products of the normal scores that the reference gives to cells[n, columns]."""
    scores = [normal_scores(c.astype(float))[x] for x, c in zip(cells.T, reference, strict=True)]
    return cross_products(np.stack(scores, axis=1))


def change(old: np.ndarray, new: np.ndarray) -> DependenceChange:
    reference = [np.bincount(column, minlength=201) for column in old.T]
    return dependence_change(summed(old, reference), summed(new, reference))


def simulate(kind: str, runs: int, r: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.array(
        [
            change(
                codes(related(rng, 1500, 8, r), kind), codes(related(rng, 400, 8, r), kind)
            ).p_value
            for _ in range(runs)
        ]
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("r", [0.0, 0.5])
def test_without_change_false_findings_are_rare(kind: str, r: float) -> None:
    p_values = simulate(kind, 60, r)
    assert np.mean(p_values <= 0.05) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 60)
    assert p_values.min() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("r", [0.0, 0.5])
def test_the_level_of_one_in_ten_thousand_is_kept(kind: str, r: float) -> None:
    """3000 pairs of samples of 20 columns: above 3 false findings would be of chance 0.0003."""
    rng = np.random.default_rng(2)
    false = 0
    for _ in range(60):
        first = codes(related(rng, 2000, 20, r), kind)
        reference = [np.bincount(column, minlength=201) for column in first.T]
        old = summed(first, reference)
        rows = np.split(codes(related(rng, 50 * 500, 20, r), kind), 50)
        windows = (summed(window, reference) for window in rows)
        false += sum(dependence_change(old, window).p_value <= 1e-4 for window in windows)
    assert false <= 3


@pytest.mark.parametrize("kind", ["normal", *KINDS[:3]])
def test_one_pair_among_twenty_columns_is_found_with_its_change(kind: str) -> None:
    rng = np.random.default_rng(3)
    old, new = rng.normal(size=(5000, 20)), rng.normal(size=(10_000, 20))
    new[:, 7] = 0.3 * new[:, 3] + math.sqrt(1 - 0.09) * new[:, 7]
    if kind == "normal":
        found = dependence_change(cross_products(old), cross_products(new))
        assert found.current == pytest.approx(0.3, abs=0.05)
        assert found.interval.low < math.atanh(0.3) < found.interval.high
    else:
        found = change(codes(old, kind), codes(new, kind))
    assert found.pair == (3, 7)
    assert found.p_value < 1e-6
    assert found.pairs == 190


def test_the_interval_of_a_pair_covers_also_for_dependent_discrete_columns() -> None:
    rng = np.random.default_rng(4)
    runs = 300
    cells = [codes(related(rng, 400, 2, 0.6), "discrete") for _ in range(2 * runs)]
    found = [change(a, b) for a, b in zip(cells[::2], cells[1::2], strict=True)]
    covered = np.mean([x.interval.low <= 0 <= x.interval.high for x in found])
    assert covered >= 0.95 - 4 * math.sqrt(0.05 * 0.95 / runs)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_parts_add_up_and_the_order_of_rows_and_the_scale_do_not_matter(
    seed: int, columns: int
) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(60, columns)), rng.normal(size=(40, columns))
    whole = dependence_change(cross_products(x), cross_products(y))
    parts = cross_products(x[:13]) + cross_products(x[13:])
    others = [
        dependence_change(parts, cross_products(y[::-1])),
        dependence_change(cross_products(3 * x + 1), cross_products(3 * y + 1)),
    ]
    for found in others:
        assert found.pair == whole.pair
        assert found.p_value == pytest.approx(whole.p_value, abs=1e-6)
        assert found.interval.low == pytest.approx(whole.interval.low, abs=1e-6)
    back = dependence_change(cross_products(y), cross_products(x))
    assert back.p_value == pytest.approx(whole.p_value)
    assert (back.reference, back.current) == pytest.approx((whole.current, whole.reference))


def test_moments_are_those_of_standardised_columns() -> None:
    """The correlation is numpy's, the interval that of the delta method worked from the rows."""
    rng = np.random.default_rng(5)
    x, y = rng.exponential(size=(500, 2)) @ [[1, 1], [0, 1]], rng.exponential(size=(200, 2))
    found = dependence_change(cross_products(x), cross_products(y))
    variance = 0.0
    for sample, r in ((x, found.reference), (y, found.current)):
        assert r == pytest.approx(np.asarray(np.corrcoef(sample.T))[0, 1])
        z = (sample - sample.mean(axis=0)) / sample.std(axis=0)
        influence = z[:, 0] * z[:, 1] - r / 2 * (z[:, 0] ** 2 + z[:, 1] ** 2)
        variance += max((influence**2).mean() / (1 - r**2) ** 2, 1) / (len(sample) - 3)
    half = (found.interval.high - found.interval.low) / 2
    assert half == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-6)


@pytest.mark.parametrize("n", [3, 4, 6])
def test_a_handful_of_rows_makes_no_pair_look_sure(n: int) -> None:
    rng = np.random.default_rng(7)
    reference, runs = cross_products(rng.normal(size=(500, 2))), 1000
    windows = [cross_products(x) for x in rng.normal(size=(runs, n, 2))]
    p_values = np.array([x.p_value for x in dependence_changes(reference, windows)])
    for level in (0.05, 0.01):
        slack = 4 * math.sqrt(level * (1 - level) / runs)
        assert np.mean(p_values <= level) <= level + slack


def test_columns_that_do_not_vary_or_repeat_each_other_are_left_out() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(100, 1))
    same = cross_products(np.hstack([x, x, np.ones((100, 1))]))
    found = dependence_change(same, same)
    assert (found.pair, found.p_value, found.pairs) == (None, 1.0, 0)
    empty = cross_products(np.zeros((0, 3)))
    assert dependence_change(empty, same).pair is None
    some = cross_products(rng.normal(size=(100, 3)))
    one, other = dependence_changes(some, [some, empty])  # an empty window among others
    assert (one.pairs, other.pairs, other.p_value) == (3, 0, 1.0)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="two dimensions, got 1"):
        cross_products([1.0])
    with pytest.raises(DataError, match="same columns, got 2 and 3"):
        dependence_change(cross_products(np.ones((4, 2))), cross_products(np.ones((4, 3))))
