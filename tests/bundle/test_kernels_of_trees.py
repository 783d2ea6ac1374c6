"""The kernels in C and those in NumPy answer the same of any trees."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gyroscope.bundle.nodes import Nodes
from gyroscope.bundle.numpy_trees import NumpyTrees
from gyroscope.bundle.trees import TreeScorer
from gyroscope.kernels import compiled, strips, trees
from gyroscope.kernels.trees import CompiledTrees
from gyroscope.train.families.node_table import NodeTable

P, N_CODES = 5, 3  # the last column holds codes
# Values and thresholds meet, differ by less than float32 can tell, or lie beyond what it can hold.
POINTS = [-math.inf, -1e300, -1.0, -0.1, 0.0, 0.1, float(np.float32(0.1)), 1.0, 16777217.0, 1e300]
MOST_SPLITS = 25

needs_compiler = pytest.mark.skipif(not compiled(), reason="no compiler was there at installation")


def in_c(nodes: Nodes, **how: Any) -> CompiledTrees:
    return CompiledTrees(**msgspec.structs.asdict(nodes), **how)


def in_numpy(nodes: Nodes, **how: Any) -> NumpyTrees:
    return NumpyTrees(nodes, **how)


both = pytest.mark.parametrize("made", [pytest.param(in_c, marks=needs_compiler), in_numpy])
Make = Callable[..., CompiledTrees | NumpyTrees]


@st.composite
def ensembles(draw: st.DrawFn) -> Nodes:
    """A few trees, from single leaves to long chains that split on one feature again and again."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    chain = draw(st.sampled_from([0.0, 0.5, 1.0]))  # how often the newest leaf is the next to split
    columns = draw(st.integers(1, P))
    table = NodeTable()
    for _ in range(draw(st.integers(1, 10))):
        leaves = [(table.add_root(), float(random.integers(0, 1000)))]
        for _ in range(draw(st.integers(0, MOST_SPLITS))):
            newest = random.uniform() < chain
            position, cover = leaves.pop(-1 if newest else int(random.integers(len(leaves))))
            feature = int(random.integers(P - columns, P))
            left, right = table.split(
                position,
                feature=feature,
                threshold=float(random.choice([*POINTS, random.normal()])),
                missing_left=bool(random.integers(2)),
                cover=cover,
                left_codes=random.integers(0, 2, N_CODES) == 1 if feature == P - 1 else None,
            )
            share = random.choice([0.0, 0.3, 0.9, 1.0])
            leaves += [(left, cover * share), (right, cover * (1 - share))]
        for position, cover in leaves:
            table.leaf(position, value=float(random.normal()), cover=cover)
    return table.nodes()


@st.composite
def matrices(draw: st.DrawFn) -> NDArray[np.float64]:
    """Rows, some of them infinite; the encoder lets no such row through, the walk minds none."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.sampled_from([1, 2, 7, 8, 9, 64, 65, 150]))
    X = random.choice([*POINTS, math.inf, math.nan], size=(n, P))
    X[:, 0] = random.normal(size=n)
    X[:, -1] = random.choice([*range(N_CODES), math.nan], size=n)
    return X


few_rows = matrices().map(lambda X: np.where(np.isinf(X), 0.5, X)[:9])


@needs_compiler
@settings(max_examples=40)
@given(ensembles(), matrices(), st.booleans())
def test_margins_are_the_same_bits_in_c_and_in_numpy(
    nodes: Nodes, X: NDArray[np.float64], single: bool
) -> None:
    found = in_c(nodes, base=0.1, single=single).margins(X)
    assert found.tobytes() == in_numpy(nodes, base=0.1, single=single).margins(X).tobytes()


@needs_compiler
@settings(max_examples=20)
@given(ensembles(), few_rows, st.booleans())
def test_shapley_values_agree_in_c_and_in_numpy(
    nodes: Nodes, X: NDArray[np.float64], single: bool
) -> None:
    ours, theirs = (made(nodes, base=0.0, single=single) for made in (in_c, in_numpy))
    np.testing.assert_allclose(
        ours.shapley_values(X), theirs.shapley_values(X), rtol=1e-9, atol=1e-9
    )
    assert ours.expected == pytest.approx(theirs.expected, abs=1e-9)


@both
@settings(max_examples=15)
@given(nodes=ensembles(), X=few_rows)
def test_shapley_values_add_up_to_what_the_margin_has_over_its_mean(
    made: Make, nodes: Nodes, X: NDArray[np.float64]
) -> None:
    kernel = made(nodes, base=0.5, single=False)
    total = 0.5 + kernel.expected + kernel.shapley_values(X).sum(axis=1)
    np.testing.assert_allclose(total, kernel.margins(X), atol=1e-9)


@both
@settings(max_examples=15)
@given(nodes=ensembles(), X=matrices(), data=st.data())
def test_a_row_gets_the_same_bits_in_any_company(
    made: Make, nodes: Nodes, X: NDArray[np.float64], data: st.DataObject
) -> None:
    kernel = made(nodes, base=0.0, single=False)
    i = data.draw(st.integers(0, len(X) - 1))
    assert kernel.margins(X[i : i + 1]).tobytes() == kernel.margins(X)[i : i + 1].tobytes()
    some = X[: min(len(X), 9)]
    together = kernel.shapley_values(some)
    assert kernel.shapley_values(some[-1:]).tobytes() == together[-1:].tobytes()


def chain(thresholds: NDArray[np.float64], codes: int = 0) -> Nodes:
    """One path down column 0, a leaf at each threshold; and a tree that splits on codes."""
    table = NodeTable()
    at = table.add_root()
    for k, threshold in enumerate(thresholds.tolist()):
        at, left = reversed(
            table.split(at, feature=0, threshold=threshold, missing_left=k % 2 == 0, cover=1.0)
        )
        table.leaf(left, value=float(k), cover=1.0)
    table.leaf(at, value=-1.0, cover=1.0)
    root = table.add_root()
    if codes:
        sent_left = np.arange(codes) % 3 > 0
        children = table.split(
            root, feature=1, threshold=0.0, missing_left=False, cover=1.0, left_codes=sent_left
        )
        table.leaf(children[0], value=0.25, cover=1.0)
        root = children[1]
    table.leaf(root, value=0.5, cover=1.0)
    return table.nodes()


@needs_compiler
@pytest.mark.parametrize(
    ("leaves", "trees_alike", "codes", "in_strips"),
    [
        (128, 1, 255, True),
        (129, 1, 0, False),  # numbers of leaves
        (52, 5, 0, True),  # 255 thresholds
        (65, 4, 0, False),  # 256: ranks
        (2, 1, 256, False),  # the missing one is the 257th
        (1, 1, 255, False),  # no split but on 85 codes
    ],
)
def test_what_is_too_large_for_bytes_or_takes_longer_is_walked(
    leaves: int, trees_alike: int, codes: int, in_strips: bool
) -> None:
    thresholds = np.linspace(-1.0, 1.0, (leaves - 1) * trees_alike).reshape(trees_alike, -1)
    many = [chain(some, codes) for some in thresholds]
    ours = [in_c(nodes, base=0.0, single=False) for nodes in many]
    random = np.random.default_rng(0)
    X = np.column_stack([random.choice([*thresholds.ravel(), -9.0, 9.0, math.nan], 200)] * 2)
    X[:, 1] = random.choice([*range(codes or 1), math.nan], 200)
    together = TreeScorer.joint([TreeScorer(nodes, base=0.0, single=False) for nodes in many])
    assert together is not None
    assert (together._strips.address is not None) is in_strips
    found = together.margins(X)
    for k, (nodes, alone) in enumerate(zip(many, ours, strict=True)):
        expected = in_numpy(nodes, base=0.0, single=False).margins(X)
        assert alone.margins(X).tobytes() == found[:, k].tobytes() == expected.tobytes()


@needs_compiler
def test_many_rows_walk_where_a_tree_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk of many rows answers the same as strips do."""
    nodes = chain(np.linspace(-1.0, 1.0, 100), codes=20)
    X = np.random.default_rng(0).uniform(-1.2, 1.2, size=(150, 2))
    X[:, 1] = np.random.default_rng(1).integers(0, 20, 150)
    by_strips = in_c(nodes, base=0.0, single=False)
    monkeypatch.setattr(strips, "_MOST_LEAVES", 1)
    walked = in_c(nodes, base=0.0, single=False)
    assert (by_strips._strips.address, walked._strips.address).count(None) == 1
    assert by_strips.margins(X).tobytes() == walked.margins(X).tobytes()


def wide(columns: int) -> Nodes:
    table = NodeTable()
    add_wide(table, columns)
    return table.nodes()


def add_wide(table: NodeTable, columns: int) -> None:
    """One path down that splits on every column once, so that it needs many quadrature points."""
    at = table.add_root()
    for j in range(columns):
        cover = 2.0 ** (columns - j)
        at, other = table.split(at, feature=j, threshold=0.0, missing_left=True, cover=cover)
        table.leaf(other, value=-float(j), cover=cover / 2)
    table.leaf(at, value=1.0, cover=1.0)


@needs_compiler
@pytest.mark.parametrize("columns", [1, 4, 5, 8, 9, 12, 13, 16, 17, 30])
def test_paths_over_many_features_are_exact(columns: int) -> None:
    X = np.where(np.eye(columns + 1, columns) > 0, 1.0, -1.0)  # the last row goes all the way
    ours, theirs = (made(wide(columns), base=0.0, single=False) for made in (in_c, in_numpy))
    np.testing.assert_allclose(ours.shapley_values(X), theirs.shapley_values(X), atol=1e-12)


@needs_compiler
def test_trees_that_are_explained_together_add_up() -> None:
    """Some with many paths, some that are one leaf, some for rules of other lengths."""
    rows = np.random.default_rng(0).normal(size=(3, 30))
    columns = [2, 30, 1, 9, 30, 9, 2] * 5
    table, alone = NodeTable(), np.zeros(rows.shape)
    for n in columns:
        add_wide(table, n)
        table.leaf(table.add_root(), value=7.0, cover=1.0)
        alone[:, :n] += in_c(wide(n), base=0.0, single=False).shapley_values(rows[:, :n])
    together = in_c(table.nodes(), base=0.0, single=False)
    np.testing.assert_allclose(together.shapley_values(rows), alone, atol=1e-11)


@needs_compiler
def test_rows_of_billions_of_bytes_are_not_explained() -> None:
    table = NodeTable()
    at, other = table.split(
        table.add_root(), feature=2**28, threshold=0.0, missing_left=True, cover=2.0
    )
    for leaf in (at, other):
        table.leaf(leaf, value=1.0, cover=1.0)
    with pytest.raises(OverflowError, match="to explain a row of these trees takes 4294967328"):
        in_c(table.nodes(), base=0.0, single=False)


@needs_compiler
def test_an_ensemble_without_trees_says_nothing() -> None:
    nodes = msgspec.structs.replace(wide(2), roots=np.array([], dtype=np.int32))
    kernel = in_c(nodes, base=0.5, single=False)
    rows = np.zeros((3, 2))
    assert kernel.margins(rows).tolist() == [0.5] * 3
    assert kernel.shapley_values(rows).tolist() == [[0.0, 0.0]] * 3


@both
def test_more_rows_than_are_handed_over_at_once(made: Make) -> None:
    kernel = made(wide(3), base=0.0, single=False)
    X = np.random.default_rng(0).normal(size=(5000, 3))
    assert kernel.margins(X)[-1] == kernel.margins(X[-1:])[0]
    if made is in_c:  # the other takes row after row
        assert kernel.shapley_values(X)[-1].tolist() == kernel.shapley_values(X[-1:])[0].tolist()


@both
def test_rows_that_the_trees_do_not_know_are_refused(made: Make) -> None:
    table = NodeTable()
    codes = np.array([True, False])
    left, right = table.split(
        table.add_root(), feature=1, threshold=0.0, missing_left=False, cover=2, left_codes=codes
    )
    table.leaf(left, value=1.0, cover=1)
    table.leaf(right, value=2.0, cover=1)
    kernel = made(table.nodes(), base=0.0, single=False)
    assert kernel.margins(np.array([[0.0, 0.0], [0.0, 1.0], [0.0, np.nan]])).tolist() == [1, 2, 2]
    for X in (np.zeros((1, 1)), np.array([[0.0, 2.0]]), np.array([[0.0, 1e300]])):
        with pytest.raises(IndexError), np.errstate(invalid="ignore"):
            kernel.margins(X)
        with pytest.raises(IndexError), np.errstate(invalid="ignore"):
            kernel.shapley_values(X)


@both
def test_trees_may_lie_anywhere_in_the_bytes_they_were_read_from(made: Make) -> None:
    def moved(array: NDArray[Any]) -> NDArray[Any]:
        view = np.frombuffer(b"?" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)
        assert array.dtype.itemsize == 1 or not view.flags.aligned
        return view

    nodes = wide(3)
    fields = {name: moved(array) for name, array in msgspec.structs.asdict(nodes).items()}
    X = np.random.default_rng(0).normal(size=(20, 3))
    kernels = [made(each, base=0.0, single=False) for each in (nodes, Nodes(**fields))]
    for answer in ("margins", "shapley_values"):
        one, other = (getattr(kernel, answer)(X) for kernel in kernels)
        assert one.tobytes() == other.tobytes()


def test_without_a_compiler_numpy_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "library", lambda: None)
    scorer = TreeScorer(wide(3), base=0.0, single=False)
    assert isinstance(scorer._trees, NumpyTrees)
    assert scorer.margins(np.array([[-1.0, -1.0, -1.0]])).tolist() == [1.0]
