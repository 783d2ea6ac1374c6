import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gyroscope.data.cells import ProfileSpec
from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.framing import array_in, array_out
from gyroscope.data.profile import (
    Profile,
    binned_counts,
    joint_summary,
    magnitude_bounds,
    merge_all,
    profile,
    quantile,
)
from gyroscope.data.profile_spec import profile_spec, score_spec
from gyroscope.errors import DataError
from gyroscope.kernels import tally

NUMBER = Column(name="amount", type=ColumnType.NUMBER)
CATEGORY = Column(name="plan", type=ColumnType.CATEGORY, categories=("a", "b", "c"))
FLAG = Column(name="new", type=ColumnType.BOOLEAN)

anything = st.floats(allow_nan=True, allow_infinity=True)
numbers = arrays(np.float64, st.tuples(st.integers(0, 40), st.just(1)), elements=anything)
few_values = st.sampled_from([0.0, -0.0, 1.0, 2.0, -3.5, 1e300, math.nan])
tables = arrays(np.float64, st.tuples(st.integers(0, 60), st.just(1)), elements=few_values)


def spec_of(values: list[float] | np.ndarray, column: Column = NUMBER) -> ProfileSpec:
    return profile_spec(np.reshape(np.asarray(values, dtype=np.float64), (-1, 1)), [column])


def matrix(values: list[float]) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, np.newaxis]


@given(numbers, numbers, numbers)
def test_the_profile_of_two_parts_merged_is_that_of_the_whole(
    reference: np.ndarray, a: np.ndarray, b: np.ndarray
) -> None:
    spec = spec_of(reference)
    merged = profile(a, spec).merged(profile(b, spec))
    whole = profile(np.concatenate([a, b]), spec)
    assert merged.n == whole.n
    one, other = merged.columns[0], whole.columns[0]
    for name in (
        *("counts", "missing", "infinite", "low", "high"),
        *("magnitude_cells", "magnitude_counts", "sketch"),
    ):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("n", [3, 39, 3000])
@pytest.mark.parametrize("compiled", [True, False])
def test_the_mean_of_the_largest_numbers_is_a_number(
    n: int, compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not compiled:
        monkeypatch.setattr(tally, "library", lambda: None)
    for largest in (float(np.finfo(np.float64).max), -float(np.finfo(np.float64).max)):
        spec = spec_of([1.0, 2.0])
        part = profile(matrix([largest] * n), spec)
        for whole in (part, part.merged(part), profile(matrix([]), spec).merged(part)):
            assert whole.columns[0].mean == pytest.approx(largest)
            assert math.isfinite(whole.columns[0].m2)


@given(tables, tables)
def test_merged_moments_are_those_of_the_whole_but_for_rounding(
    a: np.ndarray, b: np.ndarray
) -> None:
    small = [np.where(np.abs(x) > 10, 7.0, x) for x in (a, b)]
    spec = spec_of(small[0])
    merged = profile(small[0], spec).merged(profile(small[1], spec)).columns[0]
    whole = profile(np.concatenate(small), spec).columns[0]
    assert merged.mean == pytest.approx(whole.mean, abs=1e-12)
    assert merged.m2 == pytest.approx(whole.m2, abs=1e-9)


@given(numbers)
def test_every_row_is_counted_once_in_whatever_order(X: np.ndarray) -> None:
    spec = spec_of([0.5, 1.5, 1.5, 9.0])
    result = profile(X, spec).columns[0]
    assert result.n + result.missing == len(X)
    assert np.array_equal(profile(X[::-1], spec).columns[0].counts, result.counts)


@given(numbers, numbers)
def test_json_carries_every_profile(reference: np.ndarray, X: np.ndarray) -> None:
    result = profile(X, spec_of(reference))
    text = msgspec.json.encode(result, enc_hook=array_out)
    assert msgspec.json.decode(text, type=Profile, dec_hook=array_in) == result


@given(numbers, numbers)
def test_bytes_carry_every_profile(reference: np.ndarray, X: np.ndarray) -> None:
    result = profile(X, spec_of(reference))
    whole = msgspec.structs.replace(result, joint=joint_summary(X, result), extra=("note",))
    spec = ProfileSpec.from_bytes(whole.spec.to_bytes())
    assert Profile.from_bytes(whole.to_bytes(), spec) == whole


def test_bytes_of_something_else_are_an_error() -> None:
    result = profile(matrix([1.0, 2.0]), spec_of([1.0, 2.0]))
    content = result.to_bytes()
    later = content[:8] + bytes([99]) + content[9:]
    for given_bytes, told in (
        (b"", "expected the bytes of a prof"),
        (result.spec.to_bytes(), "expected the bytes of a prof"),
        (later, "has format 99, this release reads up to 2: upgrade"),
        (content[:-9], "are damaged"),
    ):
        with pytest.raises(DataError, match=told):
            Profile.from_bytes(given_bytes, result.spec)
    with pytest.raises(DataError, match="counted on other cells"):
        Profile.from_bytes(content, spec_of([5.0]))


def test_a_year_of_wide_profiles_is_merged_column_by_column() -> None:
    rng = np.random.default_rng(7)
    days = [rng.normal(size=(50, 3)) for _ in range(30)]
    spec = profile_spec(days[0], [NUMBER, NUMBER, NUMBER])
    merged = merge_all([profile(day, spec) for day in days])
    whole = profile(np.concatenate(days), spec)
    for one, other in zip(merged.columns, whole.columns, strict=True):
        assert np.array_equal(one.counts, other.counts)
        assert np.array_equal(one.sketch, other.sketch)
        assert (one.mean, one.m2) == pytest.approx((other.mean, other.m2))
    with pytest.raises(DataError, match="expected profiles to merge, got none"):
        merge_all([])


def test_joint_summaries_hold_rank_correlations_and_add_up() -> None:
    rng = np.random.default_rng(8)
    x = rng.normal(size=4000)
    X = np.column_stack([np.exp(x), 0.8 * x + 0.6 * rng.normal(size=4000), rng.random(4000)])
    X[:100, 2] = math.nan
    reference = profile(X, profile_spec(X, [NUMBER] * 3))
    whole = joint_summary(X, reference)
    correlation = whole.products / whole.n
    assert correlation[0, 0] == pytest.approx(1, abs=0.01)
    assert correlation[0, 1] == pytest.approx(0.8, abs=0.03)
    assert correlation[1, 2] == pytest.approx(0, abs=0.05)
    halves = joint_summary(X[:2000], reference) + joint_summary(X[2000:], reference)
    assert halves.n == whole.n
    np.testing.assert_allclose(halves.products, whole.products)


def test_distinct_numbers_are_estimated() -> None:
    x = np.random.default_rng(9).integers(0, 5000, 20_000).astype(float)
    result = profile(x, score_spec(x)).columns[0]
    assert result.unlisted_distinct == pytest.approx(np.unique(x).size, rel=4 * 1.04 / 32)


@given(numbers)
def test_moments_and_extremes_are_of_the_finite_values(X: np.ndarray) -> None:
    small = np.where(np.isfinite(X) & (np.abs(X) > 1e100), 1.0, X)
    finite = small[np.isfinite(small)]
    result = profile(small, spec_of([1.0, 2.0])).columns[0]
    assert result.infinite == np.isinf(small).sum()
    if finite.size:
        assert result.mean == pytest.approx(finite.mean())
        assert (result.low, result.high) == (finite.min(), finite.max())
    if finite.size > 1:
        assert result.standard_deviation == pytest.approx(
            finite.std(ddof=1), rel=1e-6, abs=1e-9 + 1e-15 * np.abs(finite).max()
        )


def test_a_code_that_the_contract_does_not_list_is_other() -> None:
    result = profile(matrix([0, 0, 1, 3, 7, -1, math.nan]), spec_of([], CATEGORY)).columns[0]
    assert result.counts.tolist() == [2, 1, 0, 3]
    assert result.missing == 1


def test_false_and_true_are_the_levels_of_a_flag() -> None:
    result = profile(matrix([0, 1, 1, math.nan]), spec_of([], FLAG)).columns[0]
    assert result.counts.tolist() == [1, 2, 0]


def test_infinite_values_stand_in_the_outer_cells() -> None:
    result = profile(matrix([-math.inf, math.inf, 1.0]), spec_of([0.0, 1.0, 2.0])).columns[0]
    assert result.counts[0] == 1
    assert result.counts[-1] == 1
    assert (result.infinite, result.mean, result.low) == (2, 1.0, 1.0)


def test_overflow_is_kept_in_what_json_can_carry() -> None:
    result = profile(matrix([1.7e308, 1.7e308, -1.7e308]), spec_of([1.0])).columns[0]
    assert result.mean == pytest.approx(1.7e308 / 3)
    assert math.isfinite(result.m2)


def test_columns_without_values_have_an_empty_profile() -> None:
    spec = spec_of([math.nan, math.nan])
    result = profile(matrix([math.nan]), spec).columns[0]
    assert (result.counts.tolist(), result.missing, result.low) == ([0], 1, None)
    assert quantile(result, spec.columns[0], 0.5) is None
    assert result.magnitude_quantile(0.5) is None


def test_quantiles_are_close_to_those_of_the_values() -> None:
    x = np.random.default_rng(1).lognormal(size=20_000)
    spec = spec_of(x)
    result = profile(x[:, np.newaxis], spec).columns[0]
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        found = quantile(result, spec.columns[0], share)
        assert found == pytest.approx(np.quantile(x, share), rel=0.02)


def test_quantiles_of_a_few_values_are_among_them() -> None:
    x = np.repeat([1.0, 2.0, 5.0], [30, 50, 20])
    spec = spec_of(x)
    result = profile(x[:, np.newaxis], spec).columns[0]
    found = [quantile(result, spec.columns[0], share) for share in (0.1, 0.5, 0.95)]
    assert found == pytest.approx([1.0, 2.0, 5.0])


@given(st.floats(min_value=5e-324, max_value=1.7e308))
def test_a_magnitude_lies_in_its_cell(size: float) -> None:
    result = profile(matrix([-size]), spec_of([1.0])).columns[0]
    (cell,) = result.magnitude_cells.tolist()
    low, high = magnitude_bounds(cell)
    assert result.magnitude_counts.tolist() == [1]
    assert low <= size <= high


def test_the_median_magnitude_is_known_to_an_eighth_and_ignores_zeros() -> None:
    x = np.concatenate([np.zeros(5000), np.random.default_rng(2).normal(0, 1e-4, 5000)])
    result = profile(x[:, np.newaxis], spec_of([1.0])).columns[0]
    assert result.magnitude_quantile(0.5) == pytest.approx(np.median(np.abs(x[5000:])), rel=0.13)


def test_bins_hold_a_tenth_of_the_reference_each() -> None:
    x = np.random.default_rng(3).normal(size=10_000)
    spec = spec_of(x)
    counts = binned_counts(profile(x[:, np.newaxis], spec).columns[0].counts, spec.columns[0])
    assert counts.sum() == 10_000
    assert counts.size == 10
    assert counts.tolist() == pytest.approx([1000] * 10, rel=0.05)


def test_scores_have_a_profile_of_one_column() -> None:
    scores = np.random.default_rng(4).random(500)
    result = profile(scores, score_spec(scores))
    assert result.n == 500
    assert result.spec.columns[0].name == "score"


def test_a_table_with_other_columns_is_an_error() -> None:
    with pytest.raises(DataError, match=r"expected a matrix with 1 columns, got shape \(3, 2\)"):
        profile(np.zeros((3, 2)), spec_of([1.0]))


def test_profiles_on_different_cells_do_not_merge() -> None:
    one, other = (profile(matrix([1.0]), spec_of(values)) for values in ([1.0, 2.0], [5.0]))
    with pytest.raises(DataError, match="counted on different cells cannot be merged"):
        one.merged(other)
