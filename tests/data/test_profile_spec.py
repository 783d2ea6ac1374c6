import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gyroscope.data.cells import ColumnSpec, Variation
from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.profile import binned_counts, profile
from gyroscope.data.profile_spec import FINE_CELLS, profile_spec, score_spec
from gyroscope.errors import DataError

NUMBER = Column(name="amount", type=ColumnType.NUMBER)
CATEGORY = Column(name="plan", type=ColumnType.CATEGORY, categories=("a", "b", "c"))

columns = arrays(np.float64, st.integers(0, 60), elements=st.floats(allow_nan=True))


def spec_of(
    values: np.ndarray, column: Column = NUMBER, *, in_time_order: bool = False
) -> ColumnSpec:
    X = np.asarray(values, dtype=np.float64)[:, np.newaxis]
    return profile_spec(X, [column], in_time_order=in_time_order).columns[0]


def variation_of(values: np.ndarray, column: Column = NUMBER) -> Variation:
    found = spec_of(values, column, in_time_order=True).variation
    assert found is not None
    return found


def counts_of(values: np.ndarray, reference: np.ndarray) -> list[int]:
    spec = profile_spec(reference[:, np.newaxis], [NUMBER])
    return [int(count) for count in profile(values[:, np.newaxis], spec).columns[0].counts]


@given(columns)
def test_edges_ascend_and_bins_begin_at_the_first_cell(values: np.ndarray) -> None:
    spec = spec_of(values)
    assert list(spec.edges) == sorted(set(spec.edges))
    assert all(math.isfinite(edge) for edge in spec.edges)
    assert spec.bins[0] == 0
    assert list(spec.bins) == sorted(set(spec.bins))
    assert spec.bins[-1] < spec.cells


def test_a_continuous_column_has_cells_of_equal_share() -> None:
    x = np.random.default_rng(1).normal(size=50_000)
    counts = counts_of(x, x)
    assert len(counts) == FINE_CELLS + 2
    assert counts[0] == counts[-1] == 0
    assert max(counts) == pytest.approx(50_000 / FINE_CELLS, abs=1)


def test_each_of_a_few_values_has_a_cell_of_its_own() -> None:
    x = np.random.default_rng(2).integers(0, 12, 5000).astype(float)
    between = np.array([3.5, 3.5, 7.1])
    counts = counts_of(np.concatenate([x, between]), x)
    held = sorted(count for count in counts if count)
    assert held == sorted([*np.bincount(x.astype(int)).tolist(), 1, 2])


def test_many_zeros_stand_in_a_cell_and_a_bin_of_their_own() -> None:
    rng = np.random.default_rng(3)
    x = np.where(rng.random(20_000) < 0.6, 0.0, rng.exponential(size=20_000))
    spec = profile_spec(x[:, np.newaxis], [NUMBER])
    counts = profile(np.append(x, -1e-9)[:, np.newaxis], spec).columns[0].counts
    assert int((x == 0).sum()) in counts
    assert int((x == 0).sum()) in binned_counts(counts, spec.columns[0])


def test_a_constant_column_tells_below_and_above_from_its_value() -> None:
    reference = np.full(300, 7.0)
    assert counts_of(np.array([6.0, 7.0, 7.0, 8.0]), reference) == [1, 2, 1]


def test_the_lowest_float_is_a_value_like_any_other() -> None:
    lowest = float(np.finfo(np.float64).min)
    assert spec_of(np.full(50, lowest)).edges == (lowest,)


def test_a_column_without_values_has_one_cell() -> None:
    spec = spec_of(np.array([math.nan, math.inf]))
    assert (spec.edges, spec.cells) == ((), 1)


def test_without_an_order_in_time_the_variation_is_not_known() -> None:
    assert spec_of(np.arange(500.0)).variation is None
    assert score_spec(np.linspace(0, 1, 500)).columns[0].variation is None


def test_a_shuffled_reference_hardly_varies() -> None:
    found = variation_of(np.random.default_rng(4).normal(size=10_000))
    assert all(d.ratio < 2 for d in found.dispersions.shift + found.dispersions.shares)
    assert [d.rows for d in found.dispersions.shift] == [156.25, 312.5, 625, 1250]
    assert found.longest_run == 1
    assert found.missing == 0.0
    assert found.magnitudes == pytest.approx((0.6745, 0.6745), rel=0.25)


def test_a_season_is_variation() -> None:
    rng = np.random.default_rng(5)
    season = np.sin(np.linspace(0, 4 * math.pi, 10_000))
    found = variation_of(20 + 10 * season + rng.normal(size=10_000))
    assert all(d.ratio > 50 for d in found.dispersions.shift)
    assert found.magnitudes is not None
    assert found.magnitudes[0] < 12
    assert found.magnitudes[1] > 28


def test_values_missing_for_a_while_are_variation() -> None:
    x = np.random.default_rng(6).normal(size=10_000)
    x[2000:3000] = math.nan
    assert variation_of(x).missing == 1.0


def test_the_longest_run_is_of_one_value_and_ends_where_one_is_missing() -> None:
    assert variation_of(np.array([1, 1, 2, 2, 2, 1.0])).longest_run == 3
    assert variation_of(np.array([2, 2, math.nan, math.nan, math.nan, 2.0])).longest_run == 2


def test_categories_vary_too() -> None:
    months = np.repeat([0.0, 1.0, 2.0], 1000)
    found = variation_of(months, CATEGORY)
    assert found.longest_run == 1000
    assert all(d.ratio > 50 for d in found.dispersions.shares)
    assert found.dispersions.shift == ()
    assert found.magnitudes is None


@given(columns)
def test_every_column_has_a_variation(values: np.ndarray) -> None:
    found = variation_of(values)
    assert all(d.ratio >= 0 for sizes in msgspec.structs.astuple(found.dispersions) for d in sizes)
    assert 0 <= found.missing <= 1
    assert 0 <= found.longest_run <= values.size


def test_a_reference_with_other_columns_is_an_error() -> None:
    with pytest.raises(DataError, match="expected a matrix with 2 columns"):
        profile_spec(np.zeros((3, 1)), [NUMBER, CATEGORY])
