"""Models of several classes: links, scorers, and exact explanations of each class."""

from __future__ import annotations

from itertools import combinations
from math import factorial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import integrate, special

from gyroscope.bundle.base import Matrix, Vector
from gyroscope.bundle.bundle import Bundle, Manifest, read_bundle
from gyroscope.bundle.class_link import ClassLink, softmax
from gyroscope.bundle.class_scorers import ClassContributions, ClassScorers
from gyroscope.bundle.explanation import in_class_probability
from gyroscope.bundle.links import Link
from gyroscope.bundle.nodes import Nodes
from gyroscope.bundle.reference import Reference
from gyroscope.bundle.trees import TreeScorer
from gyroscope.data.cells import ProfileSpec
from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.profile import Profile
from gyroscope.errors import BundleError
from gyroscope.stats.excess_loss import ExcessReference
from gyroscope.train.families.node_table import NodeTable

P, K, N_CODES = 3, 4, 3
NAMES = ("ash", "elm", "oak", "yew")
LINK = ClassLink(kind="softmax", scale=0.7, shifts=(0.1, -0.2, 0.0, 0.4))
FEATURES = tuple(Column(name=f"x{j}", type=ColumnType.NUMBER, nullable=True) for j in range(P))
CONTRACT = Contract(
    columns=(*FEATURES, Column(name="kind", type=ColumnType.CATEGORY, role=Role.TARGET)),
    task="multiclass",
    classes=NAMES,
)
NO_COLUMNS = Profile(spec=ProfileSpec(columns=()), n=0, columns=())


def tree(random: np.random.Generator, depth: int) -> TreeScorer:
    """A full tree of random splits, leaves and covers."""
    table = NodeTable()
    stack = [(table.add_root(), depth, 64.0)]
    while stack:
        position, below, cover = stack.pop()
        if not below:
            table.leaf(position, value=float(random.normal() * 2), cover=cover)
            continue
        share = random.uniform(0.2, 0.8)
        left, right = table.split(
            position,
            feature=int(random.integers(P)),
            threshold=float(random.normal()),
            missing_left=bool(random.integers(2)),
            cover=cover,
        )
        stack += [(left, below - 1, cover * share), (right, below - 1, cover * (1 - share))]
    return TreeScorer(table.nodes(), base=float(random.normal()), single=False)


def scorers(seed: int = 0) -> ClassScorers:
    random = np.random.default_rng(seed)
    return ClassScorers([tree(random, 4) for _ in range(K)])


def bundle(seed: int = 0, **changes: Any) -> Bundle:
    manifest: dict[str, Any] = {
        "model": "kinds",
        "family": "test",
        "scorer": "trees",
        "link": "softmax",
        "threshold": None,
        "metrics": {},
        "snapshot": "",
    }
    return Bundle(
        manifest=Manifest(**{**manifest, **changes}),
        contract=CONTRACT,
        scorer=scorers(seed),
        link=LINK,
        reference=Reference(
            columns=NO_COLUMNS,
            scores=NO_COLUMNS,
            n=0,
            positives=0,
            metrics={},
            excess=ExcessReference(),
        ),
    )


def rows(seed: int, n: int) -> Matrix:
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, P))
    X[random.uniform(size=X.shape) < 0.1] = np.nan
    return X


def expected_margin(part: TreeScorer, x: Vector, known: set[int]) -> float:
    """The margin of a row of which only some features are known: at a split on another both sides
    are followed, by their covers."""
    arrays = part.arrays()
    feature, value, cover = arrays["feature"], arrays["value"], arrays["cover"]
    threshold, missing_left = arrays["threshold"], arrays["missing_left"]

    def below(node: int) -> float:
        j = int(feature[node])
        if j < 0:
            return float(value[node])
        left, right = int(arrays["left"][node]), int(arrays["right"][node])
        if j in known:
            goes_left = missing_left[node] if np.isnan(x[j]) else x[j] <= threshold[node]
            return below(left) if goes_left else below(right)
        whole = float(cover[left]) + float(cover[right])
        parts = float(cover[left]) * below(left) + float(cover[right]) * below(right)
        return parts / whole

    return float(arrays["base"][0]) + below(0)


def by_definition(part: TreeScorer, x: Vector) -> Vector:
    """Shapley values, every subset of the features looked at."""
    found = np.zeros(P)
    for j in range(P):
        others = [i for i in range(P) if i != j]
        for size in range(P):
            weight = factorial(size) * factorial(P - size - 1) / factorial(P)
            for some in combinations(others, size):
                gained = expected_margin(part, x, {*some, j}) - expected_margin(part, x, set(some))
                found[j] += weight * gained
    return found


@pytest.mark.usefixtures("kernel")
def test_contributions_to_the_margin_of_each_class_are_those_of_the_definition() -> None:
    made, X = bundle(1), rows(2, 8)
    assert isinstance(made.scorer, ClassScorers)
    for k in range(K):
        found = made.class_contributions(X, np.full(len(X), k))
        part = made.scorer._parts[k]
        assert isinstance(part, TreeScorer)
        expected = np.array([by_definition(part, x) for x in X]) * LINK.scale
        np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            found.base + found.values.sum(axis=1), made.margins(X)[:, k], rtol=0, atol=1e-12
        )


def integrated(values: Matrix, base: Vector, k: int) -> Vector:
    """What each feature adds to the probability of class k, by SciPy's adaptive quadrature."""
    way = values.sum(axis=0)

    def slope(t: float) -> NDArray[np.float64]:
        p = special.softmax(base + t * way)
        return np.asarray(values @ (p[k] * ((np.arange(len(p)) == k) - p)))

    return np.asarray(integrate.quad_vec(slope, 0, 1, epsabs=1e-13, epsrel=1e-13, limit=500)[0])


@pytest.mark.parametrize(
    ("size", "n_classes"), [(0.1, 3), (1.0, 3), (1.0, 12), (8.0, 12), (40.0, 5)]
)
def test_contributions_to_a_probability_are_the_integral_along_the_softmax(
    size: float, n_classes: int
) -> None:
    random = np.random.default_rng(n_classes)
    values = random.normal(size=(6, 5, n_classes)) * size
    base = random.normal(size=n_classes)
    classes = random.integers(0, n_classes, 6)
    link = ClassLink(kind="softmax", shifts=(0.0,) * n_classes)
    found = in_class_probability(ClassContributions(values=values, base=base), classes, link)
    expected = [integrated(v, base, k) for v, k in zip(values, classes.tolist(), strict=True)]
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-11)


sizes = st.floats(-1e4, 1e4).map(lambda x: x**3 / 1e8)


@settings(max_examples=60)
@given(st.lists(st.lists(sizes, min_size=9, max_size=9), min_size=1, max_size=4))
def test_contributions_to_a_probability_add_up_to_it_however_large(
    given_values: list[list[float]],
) -> None:
    values = np.array(given_values).reshape(-1, 3, 3)
    classes = np.arange(len(values)) % 3
    base = np.array([0.3, -0.1, 0.0])
    link = ClassLink(kind="softmax", shifts=(0.0,) * 3)
    found = in_class_probability(ClassContributions(values=values, base=base), classes, link)
    p = special.softmax(base + values.sum(axis=1), axis=1)[np.arange(len(values)), classes]
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), p, rtol=0, atol=1e-9)
    np.testing.assert_allclose(found.base, special.softmax(base)[classes], rtol=0, atol=1e-15)


def test_with_two_classes_it_is_what_the_binary_link_gives() -> None:
    random = np.random.default_rng(0)
    values = np.zeros((20, 4, 2))
    values[:, :, 1] = random.normal(size=(20, 4)) * 3
    base = np.array([0.0, -0.7])
    link = ClassLink(kind="softmax", shifts=(0.0, 0.0))
    ones = np.ones(20, dtype=np.intp)
    found = in_class_probability(ClassContributions(values=values, base=base), ones, link)
    way = values[:, :, 1].sum(axis=1)
    pace = (special.expit(base[1] + way) - special.expit(base[1])) / way
    np.testing.assert_allclose(found.values, values[:, :, 1] * pace[:, None], rtol=0, atol=1e-13)


def test_contributions_in_probability_add_up_to_the_probability_of_the_class_asked_for() -> None:
    made, X = bundle(3), rows(4, 50)
    p = made.scores(X)
    for k in range(K):
        found = made.class_contributions(X, np.full(50, k), space="probability")
        np.testing.assert_allclose(
            found.base + found.values.sum(axis=1), p[:, k], rtol=0, atol=1e-12
        )
        assert found.base[0] == pytest.approx(made.class_bases[k], abs=1e-15)


def test_the_contributions_to_all_classes_cancel_in_probability() -> None:
    made, X = bundle(5), rows(6, 10)
    parts = [
        made.class_contributions(X, np.full(10, k), space="probability").values for k in range(K)
    ]
    np.testing.assert_allclose(sum(parts), 0, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("kernel")
def test_shares_are_their_own_margins() -> None:
    made, X = bundle(3, link="shares"), rows(4, 20)
    made.link = ClassLink(kind="shares", scale=0.1, shifts=(0.25,) * K)
    assert made.link.unit == "probability"
    classes = np.arange(20) % K
    margin, share = (
        made.class_contributions(X, classes, space=s) for s in ("margin", "probability")
    )
    assert share.values.tobytes() == margin.values.tobytes()
    assert share.base.tobytes() == np.clip(margin.base, 0, 1).tobytes()
    np.testing.assert_allclose(share.base, made.class_bases[classes], rtol=0, atol=1e-15)


def forest(seed: int, *, shared: bool) -> ClassScorers:
    """Some trees for each class: with splits of their own or the same, on numbers and codes."""
    random = np.random.default_rng(seed)

    def nodes(n_trees: int, n_codes: int) -> Nodes:
        table = NodeTable()
        for _ in range(n_trees):
            leaves = [(table.add_root(), 64.0)]
            for _ in range(int(random.integers(0, 30))):
                position, cover = leaves.pop(int(random.integers(len(leaves))))
                feature, share = int(random.integers(P)), random.uniform(0.2, 0.8)
                sides = table.split(
                    position,
                    feature=feature,
                    threshold=float(random.normal()),
                    missing_left=bool(random.integers(2)),
                    cover=cover,
                    left_codes=random.integers(0, 2, n_codes) == 1 if feature == P - 1 else None,
                )
                leaves += zip(sides, (cover * share, cover * (1 - share)), strict=True)
            for position, cover in leaves:
                table.leaf(position, value=float(random.normal()), cover=cover)
        return table.nodes()

    splits = nodes(11, N_CODES)
    tables = [splits] + [
        msgspec.structs.replace(
            splits, value=np.where(splits.feature < 0, random.normal(size=splits.value.shape), 0.0)
        )
        if shared
        else nodes(k, N_CODES + k)
        for k in range(1, K)
    ]
    return ClassScorers(
        [TreeScorer(each, base=float(random.normal()), single=True) for each in tables]
    )


def coded_rows(seed: int, n: int) -> Matrix:
    X = rows(seed, n)
    X[:, -1] = np.where(np.isnan(X[:, -1]), np.nan, np.abs(np.trunc(X[:, -1])) % N_CODES)
    return X


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_trees_of_all_classes_together_give_the_bits_that_each_gives(
    seed: int, shared: bool
) -> None:
    made = forest(seed, shared=shared)
    for n in (0, 1, 3, 8, 70):
        X = coded_rows(seed, n)
        classes = np.random.default_rng(seed).integers(0, K, n)
        apart = [part.margins(X) for part in made._parts]
        assert made.margins(X).tobytes() == np.stack(apart, axis=1).tobytes()
        some, some_classes = X[:8], classes[:8]
        each = [part.contributions(some) for part in made._parts]
        found, one = made.contributions(some), made.contributions_to(some, some_classes)
        assert found.values.shape == (len(some), P, K)
        at = np.arange(len(some))
        for k in range(K):
            assert found.values[:, :, k].tobytes() == each[k].values.tobytes()
        assert one.values.tobytes() == found.values[at, :, some_classes].tobytes()
        bases = np.array([of_class.base for of_class in each])
        np.testing.assert_allclose(found.base, bases, rtol=0, atol=1e-14)
        assert one.base.tobytes() == found.base[some_classes].tobytes()


def test_more_rows_of_classes_than_are_handed_over_at_once() -> None:
    made, X = forest(1, shared=True), coded_rows(2, 5000)
    classes = np.arange(5000) % K
    assert made.margins(X)[-9:].tobytes() == made.margins(X[-9:]).tobytes()
    last = made.contributions_to(X[-9:], classes[-9:]).values
    np.testing.assert_array_equal(made.contributions_to(X, classes).values[-9:], last)


@given(st.lists(st.lists(st.floats(-800, 800), min_size=5, max_size=5), min_size=1, max_size=9))
def test_the_softmax_has_the_same_bits_in_any_batch_and_is_that_of_scipy(
    margins: list[list[float]],
) -> None:
    together = softmax(np.array(margins))
    alone = np.concatenate([softmax(np.array([row])) for row in margins])
    assert alone.tobytes() == together.tobytes()
    np.testing.assert_allclose(together, special.softmax(margins, axis=1), rtol=1e-13, atol=1e-300)


def test_probabilities_add_up_to_one() -> None:
    np.testing.assert_allclose(bundle().scores(rows(7, 100)).sum(axis=1), 1, rtol=0, atol=1e-15)


@pytest.mark.parametrize("numbers", [{"scale": np.nan}, {"shifts": (0.0, np.inf)}])
def test_a_link_of_numbers_that_make_none_is_refused(numbers: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="scale and shifts of the link must be finite"):
        ClassLink(**{"kind": "softmax", "shifts": (0.0, 0.0), **numbers})  # type: ignore[arg-type]


def test_the_class_of_the_highest_score_is_the_label_and_the_first_of_equals() -> None:
    assert bundle().label((0.1, 0.2, 0.5, 0.2)) == "oak"
    assert bundle().label([0.1, 0.4, 0.4, 0.1]) == "elm"


def test_a_bundle_of_classes_is_read_back_bit_for_bit_and_says_that_it_is_new(
    tmp_path: Path,
) -> None:
    made, X = bundle(8), rows(9, 40)
    made.save(tmp_path / "bundle")
    again = Bundle.load(tmp_path / "bundle")
    assert again.manifest.format == 3
    assert again.contract == CONTRACT
    assert again.scores(X).tobytes() == made.scores(X).tobytes()
    classes = np.arange(40) % K
    for space in ("margin", "probability"):
        one = made.class_contributions(X, classes, space=space)
        two = again.class_contributions(X, classes, space=space)
        assert one.values.tobytes() == two.values.tobytes()
    made.save(tmp_path / "other")
    contents = [read_bundle(tmp_path / name).contents for name in ("bundle", "other")]
    assert contents[0] == contents[1]


@pytest.mark.parametrize("changes", [{"threshold": 0.5}, {"link": "logistic"}, {"link": "value"}])
def test_a_bundle_whose_parts_are_of_different_tasks_is_refused(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    made = bundle(**changes)
    if "link" in changes:
        made.link = Link(kind=changes["link"])
    made.save(tmp_path / "bundle")
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.load(tmp_path / "bundle")
