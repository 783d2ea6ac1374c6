"""Exact Shapley values: against the definition, and against other people's programs."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gyroscope.bundle.nodes import Nodes
from gyroscope.bundle.trees import TreeScorer
from gyroscope.data.contract import Column, ColumnType
from gyroscope.train.families.base import CategoryRanks, Fitted, Sample, family
from gyroscope.train.families.node_table import NodeTable
from gyroscope.train.families.sklearn_trees import mean_scorer

N_CODES = 4  # of column 3; the other columns are numbers
P = 4

either = pytest.mark.usefixtures("kernel")
relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


class Leaf(NamedTuple):
    value: float
    cover: int


class Split(NamedTuple):
    feature: int
    threshold: float
    codes: tuple[bool, ...]  # that go left, if the feature is the category
    missing_left: bool
    left: Any
    right: Any

    @property
    def cover(self) -> int:
        return int(self.left.cover + self.right.cover)


values = st.floats(-3, 3, width=16)
leaves = st.builds(Leaf, values, st.integers(1, 20))
trees = st.recursive(
    leaves,
    lambda below: st.builds(
        Split,
        st.integers(0, P - 1),
        st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0]),
        st.tuples(*[st.booleans()] * N_CODES),
        st.booleans(),
        below,
        below,
    ),
    max_leaves=12,
)
numbers = st.sampled_from([-1.5, -1.0, -0.7, -0.5, 0.0, 0.2, 0.5, 1.0, 2.0]) | st.just(np.nan)
codes = st.sampled_from([0.0, 1.0, 2.0, 3.0]) | st.just(np.nan)
rows = st.tuples(numbers, numbers, numbers, codes).map(np.array)


def goes_left(split: Split, row: NDArray[np.float64]) -> bool:
    x = row[split.feature]
    if np.isnan(x):
        return split.missing_left
    return split.codes[int(x)] if split.feature == 3 else bool(x <= split.threshold)


def expected(tree: Leaf | Split, row: NDArray[np.float64], known: frozenset[int]) -> float:
    """The path-dependent game: unknown features take both ways, in proportion to cover."""
    if isinstance(tree, Leaf):
        return tree.value
    if tree.feature in known:
        return expected(tree.left if goes_left(tree, row) else tree.right, row, known)
    left, right = expected(tree.left, row, known), expected(tree.right, row, known)
    share = float(tree.left.cover / tree.cover)
    return share * left + (1 - share) * right


def shapley_by_definition(forest: list[Any], row: NDArray[np.float64]) -> NDArray[np.float64]:
    def worth(known: tuple[int, ...]) -> float:
        return sum(expected(tree, row, frozenset(known)) for tree in forest)

    found = np.zeros(P)
    for j in range(P):
        others = [k for k in range(P) if k != j]
        for size in range(P):
            weight = factorial(size) * factorial(P - size - 1) / factorial(P)
            for known in combinations(others, size):
                found[j] += weight * (worth((*known, j)) - worth(known))
    return found


def nodes_of(forest: list[Any]) -> Nodes:
    table = NodeTable()
    for tree in forest:
        stack = [(tree, table.add_root())]
        while stack:
            node, position = stack.pop()
            if isinstance(node, Leaf):
                table.leaf(position, value=node.value, cover=node.cover)
                continue
            left, right = table.split(
                position,
                feature=node.feature,
                threshold=node.threshold,
                missing_left=node.missing_left,
                cover=node.cover,
                left_codes=np.array(node.codes) if node.feature == 3 else None,
            )
            stack += [(node.left, left), (node.right, right)]
    return table.nodes()


@either
@relaxed
@given(st.lists(trees, min_size=1, max_size=3), rows)
def test_trees_of_any_shape_have_the_values_of_the_definition(
    forest: list[Any], row: NDArray[np.float64]
) -> None:
    scorer = TreeScorer(nodes_of(forest), base=0.25, single=False)
    found = scorer.contributions(row[None])
    np.testing.assert_allclose(found.values[0], shapley_by_definition(forest, row), atol=1e-12)
    nothing_known = sum(expected(tree, row, frozenset()) for tree in forest)
    assert found.base == pytest.approx(0.25 + nothing_known, abs=1e-12)


@either
@relaxed
@given(st.lists(trees, min_size=1, max_size=3), rows)
def test_trees_of_any_shape_score_by_going_down(
    forest: list[Any], row: NDArray[np.float64]
) -> None:
    everything = frozenset(range(P))
    margin = 0.25
    for tree in forest:
        margin += expected(tree, row, everything)
    scorer = TreeScorer(nodes_of(forest), base=0.25, single=False)
    assert scorer.margins(row[None])[0] == margin


@either
def test_a_feature_met_again_on_a_path_is_one_player() -> None:
    inner = Split(0, 0.0, (), False, Leaf(1.0, 3), Leaf(5.0, 1))
    tree = Split(0, 1.0, (), False, inner, Leaf(-2.0, 4))
    scorer = TreeScorer(nodes_of([tree]), base=0.0, single=False)
    found = scorer.contributions(np.array([[0.5, 0, 0, 0]]))
    assert found.base == pytest.approx((3 * 1 + 1 * 5 + 4 * -2) / 8)
    np.testing.assert_allclose(found.values, [[5 - found.base, 0, 0, 0]], atol=1e-15)


@either
def test_a_side_that_no_training_row_took_still_counts_for_a_row_that_takes_it() -> None:
    tree = Split(0, 0.0, (), False, Leaf(1.0, 5), Leaf(7.0, 0))
    scorer = TreeScorer(nodes_of([tree]), base=0.0, single=False)
    found = scorer.contributions(np.array([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]))
    assert found.base == pytest.approx(1.0)
    np.testing.assert_allclose(found.values[:, 0], [6.0, 0.0], atol=1e-15)


# -- against other programs -----------------------------------------------------------------------

COLUMNS = (
    *(Column(name=f"x{j}", type=ColumnType.NUMBER, nullable=True) for j in range(4)),
    *(
        Column(
            name=f"c{j}",
            type=ColumnType.CATEGORY,
            categories=tuple("abcdefghij")[: 3 + 5 * j],
            unknown="other",
            nullable=True,
        )
        for j in range(2)
    ),
)


def made_sample(seed: int, n: int = 1500) -> Sample:
    """Numbers and categories that interact, a tenth of them missing."""
    random = np.random.default_rng(seed)
    X = np.column_stack(
        [random.normal(size=(n, 4)), random.integers(0, 4, n), random.integers(0, 9, n)]
    )
    margin = X[:, 0] * X[:, 1] + np.where(X[:, 4] == 1, 1.5, -0.5) + 0.5 * (X[:, 5] % 3)
    y = (random.uniform(size=n) < 1 / (1 + np.exp(-margin))).astype(np.float64)
    X[random.uniform(size=X.shape) < 0.1] = np.nan
    return Sample(
        X=X, y=y, weight=np.ones(n), X_stop=X[: n // 3], y_stop=y[: n // 3], columns=COLUMNS
    )


SAMPLE = made_sample(1)


@pytest.fixture(scope="module")
def lightgbm() -> Fitted:
    return family("lightgbm").fit(SAMPLE, seed=0)


def test_lightgbm_agrees_with_its_own_contributions(lightgbm: Fitted) -> None:
    found = lightgbm.scorer.contributions(SAMPLE.X[:200])
    assert lightgbm.contributions is not None
    np.testing.assert_allclose(found.values, lightgbm.contributions(SAMPLE.X[:200]), atol=1e-9)


def test_xgboost_agrees_with_its_own_contributions() -> None:
    pytest.importorskip("xgboost")
    fitted = family("xgboost").fit(SAMPLE, seed=0)
    found = fitted.scorer.contributions(SAMPLE.X[:200])
    assert fitted.contributions is not None
    np.testing.assert_allclose(found.values, fitted.contributions(SAMPLE.X[:200]), atol=1e-5)


def test_a_forest_agrees_with_shap() -> None:
    shap = pytest.importorskip("shap")
    from sklearn.ensemble import RandomForestClassifier

    ranks = CategoryRanks(SAMPLE)
    forest = RandomForestClassifier(20, max_leaf_nodes=32, random_state=0)
    forest.fit(ranks(SAMPLE.X), SAMPLE.y)
    scorer = mean_scorer(forest.estimators_, ranks, SAMPLE)
    explainer = shap.TreeExplainer(forest, feature_perturbation="tree_path_dependent")
    theirs = explainer.shap_values(ranks(SAMPLE.X[:100]), check_additivity=False)[..., 1]
    ours = scorer.contributions(SAMPLE.X[:100])
    np.testing.assert_allclose(ours.values, theirs, atol=1e-6)
    assert ours.base == pytest.approx(explainer.expected_value[1], abs=1e-9)
