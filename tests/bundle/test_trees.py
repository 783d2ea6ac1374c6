from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gyroscope.bundle.nodes import Nodes, depth
from gyroscope.bundle.trees import TreeScorer
from gyroscope.train.families.node_table import NodeTable

P = 6  # columns; the last is a category with 4 codes
N_CODES = 4


def grown(seed: int, n_trees: int, *, splits: int = 60) -> Nodes:
    """Trees that split anywhere on anything, unbalanced as boosted trees are."""
    random = np.random.default_rng(seed)
    table = NodeTable()
    for _ in range(n_trees):
        leaves = [table.add_root()]
        for _ in range(splits):
            position = leaves.pop(int(random.integers(len(leaves))))
            feature = int(random.integers(P))
            leaves += table.split(
                position,
                feature=feature,
                threshold=float(random.normal()),
                missing_left=bool(random.integers(2)),
                cover=100.0,
                left_codes=random.integers(0, 2, N_CODES) == 1 if feature == P - 1 else None,
            )
        for position in leaves:
            table.leaf(position, value=float(random.normal()), cover=50.0)
    return table.nodes()


def rows_of(seed: int, n: int, *, missing: float = 0.2) -> NDArray[np.float64]:
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, P))
    X[:, -1] = random.integers(0, N_CODES, n)
    X[random.uniform(size=X.shape) < missing] = np.nan
    return X


SCORER = TreeScorer(grown(0, 40), base=0.125, single=False)
WIDE = TreeScorer(grown(1, 700, splits=20), base=0.0, single=True)
ROWS = rows_of(0, 3000)
MARGINS = SCORER.margins(ROWS)


@pytest.mark.parametrize("scorer", [SCORER, WIDE])
def test_the_margin_of_a_row_has_the_same_bits_alone_and_in_any_company(
    scorer: TreeScorer,
) -> None:
    together = scorer.margins(ROWS)
    alone = np.concatenate([scorer.margins(row[None]) for row in ROWS[:200]])
    assert alone.tobytes() == together[:200].tobytes()


@given(st.lists(st.integers(0, len(ROWS) - 1), min_size=1, max_size=200))
def test_the_margin_of_a_row_does_not_depend_on_the_order_of_rows(positions: list[int]) -> None:
    assert SCORER.margins(ROWS[positions]).tobytes() == MARGINS[positions].tobytes()


def test_contributions_do_not_depend_on_the_company_either() -> None:
    together = SCORER.contributions(ROWS[:20])
    alone = SCORER.contributions(ROWS[7:8])
    assert alone.values.tobytes() == together.values[7:8].tobytes()
    assert alone.base == together.base


def test_contributions_add_up_to_the_margin() -> None:
    found = SCORER.contributions(ROWS[:100])
    total = found.base + found.values.sum(axis=1)
    np.testing.assert_allclose(total, SCORER.margins(ROWS[:100]), atol=1e-9)


def test_rows_laid_out_otherwise_in_memory_score_the_same() -> None:
    expected = MARGINS.tobytes()
    assert SCORER.margins(np.asfortranarray(ROWS)).tobytes() == expected
    assert SCORER.margins(np.repeat(ROWS, 2, axis=0)[::2]).tobytes() == expected
    whole: Any = np.zeros((9, P), dtype=np.int32)
    assert SCORER.margins(whole).tobytes() == SCORER.margins(whole.astype(np.float64)).tobytes()


def test_no_rows_score_to_nothing() -> None:
    assert SCORER.margins(ROWS[:0]).shape == (0,)
    assert WIDE.margins(ROWS[:0]).shape == (0,)
    assert SCORER.contributions(ROWS[:0]).values.shape == (0, P)


def test_a_scorer_of_single_precision_rounds_as_its_library_did() -> None:
    table = NodeTable()
    left, right = table.split(
        table.add_root(), feature=0, threshold=16777216.0, missing_left=True, cover=2
    )
    table.leaf(left, value=-1.0, cover=1)
    table.leaf(right, value=1.0, cover=1)
    X = np.array([[16777217.0], [16777218.0], [1e300], [-1e300], [np.nan]])
    single = TreeScorer(table.nodes(), base=0.0, single=True)
    assert single.margins(X).tolist() == [-1, 1, 1, -1, -1]
    double = TreeScorer(table.nodes(), base=0.0, single=False)
    assert double.margins(X).tolist() == [1, 1, 1, -1, -1]


def test_a_tree_without_a_split_is_a_constant() -> None:
    table = NodeTable()
    table.leaf(table.add_root(), value=0.5, cover=10)
    scorer = TreeScorer(table.nodes(), base=0.25, single=False)
    assert scorer.margins(ROWS[:3]).tolist() == [0.75] * 3
    found = scorer.contributions(ROWS[:3])
    assert found.base == 0.75
    assert not found.values.any()


@pytest.mark.parametrize("scorer", [SCORER, WIDE])
def test_a_scorer_is_built_again_from_its_arrays(scorer: TreeScorer) -> None:
    again = TreeScorer.from_arrays(scorer.arrays())
    assert again.margins(ROWS).tobytes() == scorer.margins(ROWS).tobytes()
    some = ROWS[:3]
    found, expected = again.contributions(some), scorer.contributions(some)
    assert found.values.tobytes() == expected.values.tobytes()


def test_depth_is_the_longest_way_down() -> None:
    table = NodeTable()
    table.leaf(table.add_root(), value=0.0, cover=1)
    assert depth(table.nodes()) == 0
    left, right = table.split(
        table.add_root(), feature=0, threshold=0.0, missing_left=True, cover=2
    )
    table.leaf(left, value=0.0, cover=1)
    table.leaf(right, value=0.0, cover=1)
    assert depth(table.nodes()) == 1
    assert depth(grown(0, 40)) > 5


def changed(name: str, position: int, value: Any) -> dict[str, Any]:
    arrays: dict[str, Any] = {k: v.copy() for k, v in SCORER.arrays().items()}
    arrays[name][position] = value
    return arrays


SPLIT = int(np.flatnonzero(SCORER._nodes.feature >= 0)[5])
LEAF = int(np.flatnonzero(SCORER._nodes.feature < 0)[5])
WRONG = [
    (changed("left", SPLIT, SPLIT), "leads back or nowhere"),
    (changed("right", SPLIT, 0), "leads back or nowhere"),
    (changed("right", SPLIT, 10**6), "leads back or nowhere"),
    (changed("left", LEAF, LEAF + 1), "leads back or nowhere"),
    (changed("left", LEAF, -1), "leads back or nowhere"),
    (changed("right", SPLIT, SCORER._nodes.left[SPLIT]), "has two parents"),
    (changed("roots", 3, SCORER._nodes.left[SPLIT]), "has two parents"),
    (changed("roots", 3, -1), "has no root"),
    (changed("roots", 3, 10**6), "has no root"),
    (changed("category_set", SPLIT, 10**6), "has no set"),
    (changed("value", LEAF, np.nan), "not finite"),
    (changed("threshold", SPLIT, np.nan), "threshold of the node table is no number"),
    (changed("cover", SPLIT, -1.0), "cover below 0"),
    (changed("cover", SPLIT, np.nan), "cover below 0"),
    ({**SCORER.arrays(), "value": np.zeros(3)}, "differ in length"),
    ({**SCORER.arrays(), "threshold": SCORER._nodes.threshold[:, None]}, "differ in length"),
    ({**SCORER.arrays(), "feature": SCORER._nodes.feature.astype(np.float64)}, "wrong types"),
    ({**SCORER.arrays(), "category_sets": np.zeros(3, bool)}, "wrong shapes"),
]


@pytest.mark.parametrize(("arrays", "message"), WRONG, ids=lambda v: v if type(v) is str else "")
def test_arrays_that_are_no_trees_are_refused(arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TreeScorer.from_arrays(arrays)


def test_nodes_are_compared_array_by_array() -> None:
    nodes = grown(0, 3)
    for name, array in msgspec.structs.asdict(grown(0, 3)).items():
        np.testing.assert_array_equal(array, getattr(nodes, name))
