"""The contract of the kernels, held by the compiled ones and by those in NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from gyroscope.errors import DataError
from gyroscope.kernels import (
    REGISTERS,
    NumberTally,
    Runs,
    Stretch,
    cells_of_numbers,
    compiled,
    count_codes,
    read_runs,
    sketch_texts,
    tally,
    tally_numbers,
)
from gyroscope.kernels.library import FLAGS, library, library_path
from gyroscope.stats.hyperloglog import distinct_estimate

EXACT = (
    *("counts", "binned", "magnitudes", "first_magnitude", "missing", "infinite", "finite"),
    *("low", "high", "sketch"),
)
ODD = [0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 5e-324, 1.7e308, -1.7e308]

anything = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(ODD)
columns = arrays(np.float64, st.integers(0, 700), elements=anything)
edges = arrays(
    np.float64, st.integers(0, 30), elements=st.floats(allow_nan=False, allow_infinity=False)
)
relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


@pytest.fixture(params=["C", "NumPy"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two in turn."""
    if request.param == "NumPy":
        monkeypatch.setattr(tally, "library", lambda: None)
    elif not compiled():
        pytest.skip("no compiler was there at installation")
    return str(request.param)


@pytest.fixture
def numpy_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        yield patch


def tallied(x: np.ndarray, cuts: np.ndarray, **asked: Any) -> NumberTally:
    return tally_numbers([Stretch(values=x)], cuts, **asked)


def ascending(values: np.ndarray) -> np.ndarray:
    return np.unique(values + 0.0)


@relaxed
@given(columns, edges)
def test_values_are_counted_where_numpy_finds_them(
    kernel: str, x: np.ndarray, given_edges: np.ndarray
) -> None:
    cuts = ascending(given_edges)
    found = tallied(x, cuts)
    present = x[~np.isnan(x)]
    finite = present[np.isfinite(present)]
    expected = np.bincount(np.searchsorted(cuts, present), minlength=cuts.size + 1)
    assert found.counts.tolist() == expected.tolist()
    assert found.missing.tolist() == [x.size - present.size]
    assert found.infinite == present.size - finite.size
    assert found.low == finite.min(initial=math.inf)
    assert found.high == finite.max(initial=-math.inf)
    assert found.magnitudes.sum() == np.count_nonzero(finite)
    missing_last = np.where(np.isnan(x), cuts.size + 1, np.searchsorted(cuts, x))
    assert cells_of_numbers(x, cuts).tolist() == missing_last.tolist()


@pytest.mark.skipif(not compiled(), reason="no compiler was there at installation")
@relaxed
@given(columns, edges, st.integers(0, 7), st.data())
def test_both_kernels_agree_bit_for_bit(
    numpy_only: pytest.MonkeyPatch,
    x: np.ndarray,
    given_edges: np.ndarray,
    offset: int,
    data: st.DataObject,
) -> None:
    cuts, middle = ascending(given_edges), data.draw(st.integers(0, x.size))
    bitmap = memoryview(np.random.default_rng(offset).bytes(x.size // 8 + 2))
    cut = data.draw(st.integers(0, x.size))
    stretches = [
        Stretch(values=x[:cut], valid=bitmap, offset=offset),
        Stretch(values=x[:0]),
        Stretch(values=x[cut:]),
    ]
    bounds, bins = [0, middle, x.size], range(0, cuts.size + 1, 3)
    both = []
    for one in (library(), None):
        numpy_only.setattr(tally, "library", lambda one=one: one)
        both.append(tally_numbers(stretches, cuts, bounds=bounds, bins=bins))
    for name in EXACT:
        assert np.array_equal(getattr(both[0], name), getattr(both[1], name)), name
    largest = np.abs(np.where(np.isfinite(x), x, 0)).max(initial=0)
    np.testing.assert_allclose(both[0].mean, both[1].mean, rtol=1e-12, atol=1e-14 * largest)


@pytest.mark.parametrize("kind", [np.float32, np.int64, np.int32, np.uint8, np.bool_, np.float16])
def test_numbers_of_other_types_count_like_floats(kernel: str, kind: type) -> None:
    x: np.ndarray = np.random.default_rng(1).integers(0, 50, 2000).astype(kind)
    cuts = np.arange(0.0, 40.0, 3)
    found, expected = tallied(x, cuts), tallied(x.astype(np.float64), cuts)
    for name in (*EXACT, "mean", "m2"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


def test_moments_are_sound_far_from_zero(kernel: str) -> None:
    x = 1e9 + np.random.default_rng(2).normal(size=20_000)
    found = tallied(x, np.zeros(0), bounds=[0, 20_000])
    assert found.mean == pytest.approx(x.mean(), rel=1e-15)
    assert found.m2 == pytest.approx(x.var() * x.size, rel=1e-6)


def test_parts_are_tallied_each_by_itself(kernel: str) -> None:
    x = np.random.default_rng(3).normal(size=1500)
    x[::7] = math.nan
    cuts = np.array([-1.0, 0.0, 1.0])
    found = tallied(x, cuts, bounds=[0, 0, 700, 1500], bins=[0, 1, 3])
    assert found.counts.tolist() == tallied(x, cuts).counts.tolist()
    for part, rows in enumerate((x[:0], x[:700], x[700:])):
        alone = tallied(rows, cuts)
        first, second, third, last = alone.counts
        assert found.binned[part].tolist() == [first, second + third, last]
        assert found.missing[part] == alone.missing[0]


def test_magnitudes_of_parts_are_counted_together_as_asked(kernel: str) -> None:
    x = np.random.default_rng(4).normal(size=900) * np.repeat([1e-3, 1.0, 1e6], 300)
    bounds = [0, 100, 300, 600, 900]
    cuts = np.array([0.0])
    groups = np.array([0, 0, 1, 1], dtype=np.int32)
    found = tallied(x, cuts, bounds=bounds, groups=groups)
    again = tallied(x, cuts, bounds=bounds, groups=groups)  # nothing is left of the first
    assert found.magnitudes.tolist() == again.magnitudes.tolist()
    for group, rows in enumerate((x[:300], x[300:])):
        alone = tallied(rows, cuts)
        held = found.magnitudes[group]
        first = alone.first_magnitude - found.first_magnitude
        assert held[first : first + alone.magnitudes.shape[1]].tolist() == (
            alone.magnitudes[0].tolist()
        )
        assert held.sum() == 300 * (group + 1)


@pytest.mark.parametrize("k", [8, 1000])
def test_codes_are_counted_part_by_part(kernel: str, k: int) -> None:
    rng = np.random.default_rng(5)
    codes = rng.integers(-1, 50, 500).astype(np.int32)
    lookup = rng.integers(0, k, 51).astype(np.int32)
    bounds = [0, 0, 123, 499, 500]
    cells = codes.copy()
    found = count_codes(cells, lookup, k, bounds=bounds)
    assert cells.tolist() == lookup[codes].tolist()
    expected = [
        np.bincount(cells[first:end], minlength=k).tolist() for first, end in pairwise(bounds)
    ]
    assert found.tolist() == expected


def test_texts_are_sketched(kernel: str) -> None:
    texts = [f"größe {number % 3000}" for number in range(5000)]
    data = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, data)])
    sketch = np.zeros(REGISTERS, dtype=np.uint8)
    sketch_texts(b"".join(data), offsets, sketch)
    assert distinct_estimate(sketch) == pytest.approx(3000, rel=4 * 1.04 / 32)
    assert int(sketch.astype(int).sum()) == SKETCH_SUM


SKETCH_SUM = 2904  # of the registers: golden, the same wherever this runs


def test_too_many_edges_are_an_error(kernel: str) -> None:
    with pytest.raises(DataError, match="at most 16384 edges of cells, got 16385"):
        tallied(np.zeros(1), np.arange(16_385.0))


def unaligned(values: NDArray[Any]) -> NDArray[Any]:
    """The same values, one byte off where the processor wants them."""
    memory = np.zeros(values.nbytes + 1, dtype=np.uint8)
    view = memory[1:].view(values.dtype)
    view[:] = values
    assert not view.flags.aligned
    return view


@pytest.mark.parametrize("type_", ["f8", "f4", "i8", "i4", ">f8", "f2"])
def test_numbers_are_counted_wherever_they_are(kernel: str, type_: str) -> None:
    x = np.random.default_rng(0).integers(-100, 100, 300).astype(type_)
    cuts = np.arange(-90.0, 90.0, 20.0)
    expected = tally_numbers([Stretch(values=x)], cuts)
    apart = np.repeat(x, 3)[::3]
    assert not apart.flags.c_contiguous
    for values in (unaligned(x), apart, x.astype([("x", type_), ("odd", "u1")])["x"]):
        found = tally_numbers([Stretch(values=values)], cuts)
        assert all(np.array_equal(getattr(found, n), getattr(expected, n)) for n in EXACT)
        runs, expected_runs = Runs(), Runs()
        read_runs(Stretch(values=values), runs)
        read_runs(Stretch(values=x), expected_runs)
        assert bytes(runs) == bytes(expected_runs)


def test_arrays_beside_the_numbers_may_be_anywhere_too(kernel: str) -> None:
    x, cuts = np.arange(50.0), np.arange(0.0, 50.0, 7)
    cells = cells_of_numbers(x, cuts)
    assert np.array_equal(cells_of_numbers(unaligned(x), unaligned(cuts)), cells)
    codes, lookup = np.array([0, 1, -1, 1], dtype=np.int32), np.array([2, 0, 1], dtype=np.int32)
    counts = count_codes(codes.copy(), unaligned(lookup), 3, bounds=[0, 4])
    assert counts.tolist() == [[2, 1, 1]]


def test_a_library_of_other_sources_or_flags_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    built = library_path()
    assert built.name.startswith("_kernels_")
    assert compiled() == built.exists()
    monkeypatch.setattr("gyroscope.kernels.library.FLAGS", (*FLAGS, "-ffast-math"))
    assert library_path() != built
