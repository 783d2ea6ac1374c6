"""What every model family must do: subclass :class:`ModelFamilyContract` in your tests.

class TestMyFamily(ModelFamilyContract):
    @pytest.fixture
    def family(self):
        return MyFamily()
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from gyroscope.bundle.base import Arrays, Matrix, Scorer, Vector
from gyroscope.bundle.class_scorers import ClassScorers
from gyroscope.data.contract import Column, ColumnType
from gyroscope.train.families.base import Fitted, ModelFamily, Sample
from gyroscope.train.fidelity import check_fidelity

COLUMNS = (
    Column(name="spread", type=ColumnType.NUMBER, nullable=True),
    Column(name="fine", type=ColumnType.NUMBER, nullable=True),  # needs all digits of a float64
    Column(name="huge", type=ColumnType.NUMBER, nullable=True),  # beyond float32 at times
    Column(name="constant", type=ColumnType.NUMBER, nullable=True),
    Column(name="day", type=ColumnType.DATETIME, nullable=True),
    Column(name="flag", type=ColumnType.BOOLEAN, nullable=True),
    Column(
        name="plan",
        type=ColumnType.CATEGORY,
        categories=("basic", "plus", "pro", "never seen"),
        unknown="other",
        nullable=True,
    ),
    Column(
        name="town",
        type=ColumnType.CATEGORY,
        categories=tuple(f"town {k}" for k in range(30)),
        nullable=True,
    ),
)
PLAN, TOWN = 6, 7  # positions of the categories
NEVER_SEEN, OTHER = 3.0, 4.0  # codes of ``plan`` that no row to fit on has


def rows(seed: int, n: int) -> tuple[Matrix, Vector]:
    """Encoded rows ``float64[n, p]`` with every awkward value, and their labels ``float64[n]``."""
    random = np.random.default_rng(seed)
    X = np.column_stack(
        [
            random.normal(size=n),
            0.1 + random.normal(size=n) * 1e-6,
            np.exp(random.normal(size=n) * 3) * np.where(random.uniform(size=n) < 0.01, 1e38, 1.0),
            np.full(n, 0.3) + random.integers(0, 2, n) * 5e-17,
            1.7e9 + random.uniform(0, 3e7, n),
            random.integers(0, 2, n),
            random.integers(0, 3, n),
            random.integers(0, 30, n),
        ]
    )
    margin = X[:, 0] + (X[:, 1] - 0.1) * 1e6 * X[:, 5] + np.where(X[:, PLAN] == 1, 1.0, -1.0)
    margin += np.where(X[:, TOWN] % 2 == 0, 0.5, -0.5)
    y = (random.uniform(size=n) < 1 / (1 + np.exp(-margin))).astype(np.float64)
    X[random.uniform(size=X.shape) < 0.1] = np.nan
    return X, y


def awkward_rows(seed: int, n: int) -> Matrix:
    """More rows, some with categories and numbers that no row to fit on has."""
    X, _ = rows(seed, n)
    X[::7, PLAN] = OTHER
    X[1::7, PLAN] = NEVER_SEEN
    X[2::7, 0] = 1e30
    X[3::7, 0] = -1e30
    X[4::7] = np.nan
    X[5::7, 2] = 1e300
    return X


def sample(seed: int = 0, n: int = 600) -> Sample:
    """A sample to fit on, with weights."""
    X, y = rows(seed, n)
    X_stop, y_stop = rows(seed + 1, n // 2)
    weight = np.random.default_rng(seed).uniform(0.5, 2, n)
    return Sample(X=X, y=y, weight=weight, X_stop=X_stop, y_stop=y_stop, columns=COLUMNS)


_FITTED: dict[tuple[type, str], Fitted] = {}


class ModelFamilyContract:
    """Tests of a model family; a subclass overrides the fixture ``family``."""

    @pytest.fixture
    def family(self) -> ModelFamily:
        """The family under test."""
        raise NotImplementedError("override the fixture 'family'")

    @pytest.fixture
    def fitted(self, family: ModelFamily) -> Fitted:
        """The family fitted on the sample, once for all tests of this class."""
        key = (type(self), family.name)
        if key not in _FITTED:
            _FITTED[key] = family.fit(sample(), seed=0)
        return _FITTED[key]

    def test_the_same_seed_gives_the_same_arrays(self, family: ModelFamily, fitted: Fitted) -> None:
        again = family.fit(sample(), seed=0)
        assert same_arrays(again.scorer.arrays(), fitted.scorer.arrays())
        assert again.link == fitted.link

    def test_the_scorer_gives_the_probabilities_of_the_library(self, fitted: Fitted) -> None:
        X = awkward_rows(5, 1000)
        ours = probabilities(fitted, X)
        np.testing.assert_allclose(ours, fitted.answers(X), rtol=0, atol=1e-6)

    def test_probabilities_are_finite_and_between_zero_and_one(self, fitted: Fitted) -> None:
        p = probabilities(fitted, awkward_rows(6, 300))
        assert ((p >= 0) & (p <= 1)).all()

    def test_it_is_no_worse_than_knowing_only_the_base_rate(self, fitted: Fitted) -> None:
        given = sample()
        p = probabilities(fitted, given.X)
        base = np.average(given.y, weights=given.weight)
        brier = np.average((given.y - p) ** 2, weights=given.weight)
        assert brier <= np.average((given.y - base) ** 2, weights=given.weight) + 1e-9

    def test_weights_are_heard(self, family: ModelFamily) -> None:
        given = sample()
        heavier = Sample(
            X=given.X,
            y=given.y,
            weight=np.where(given.y == 1, 10.0, 0.1),
            X_stop=given.X_stop,
            y_stop=given.y_stop,
            columns=given.columns,
        )
        leaning = family.fit(heavier, seed=0)
        assert probabilities(leaning, given.X).mean() > given.y.mean() + 0.1

    def test_a_margin_does_not_depend_on_the_rows_it_is_computed_with(self, fitted: Fitted) -> None:
        X = awkward_rows(7, 500)
        together = fitted.scorer.margins(X)
        order = np.random.default_rng(0).permutation(len(X))
        assert fitted.scorer.margins(X[order]).tobytes() == together[order].tobytes()
        alone = np.array([fitted.scorer.margins(row[None])[0] for row in X[:50]])
        assert alone.tobytes() == together[:50].tobytes()

    def test_contributions_add_up_to_the_margin(self, fitted: Fitted) -> None:
        X = awkward_rows(8, 50)
        found = fitted.scorer.contributions(X)
        assert found.values.shape == X.shape
        margins = fitted.scorer.margins(X)
        scale = 1 + np.abs(found.values).sum(axis=1)
        assert (np.abs(found.base + found.values.sum(axis=1) - margins) <= 1e-9 * scale).all()

    def test_contributions_are_those_of_the_library_if_it_has_any(self, fitted: Fitted) -> None:
        if fitted.contributions is not None:
            X = rows(9, 50)[0]
            found = fitted.scorer.contributions(X).values
            np.testing.assert_allclose(found, fitted.contributions(X), rtol=0, atol=1e-5)

    def test_a_constant_column_contributes_nothing_worth_mentioning(self, fitted: Fitted) -> None:
        X = rows(10, 100)[0]
        X[:, 3] = 0.3
        assert np.abs(fitted.scorer.contributions(X).values[:, 3]).mean() < 0.05

    def test_it_survives_being_stored_as_arrays(self, fitted: Fitted) -> None:
        X = awkward_rows(11, 100)
        assert not isinstance(fitted.scorer, ClassScorers)  # two classes
        again: Scorer = type(fitted.scorer).from_arrays(fitted.scorer.arrays())
        assert again.margins(X).tobytes() == fitted.scorer.margins(X).tobytes()
        found, expected = again.contributions(X[:5]), fitted.scorer.contributions(X[:5])
        assert found.values.tobytes() == expected.values.tobytes()
        assert found.base == expected.base

    def test_its_arrays_hold_no_objects(self, fitted: Fitted) -> None:
        assert all(array.dtype.kind in "biuf" for array in fitted.scorer.arrays().values())

    def test_it_is_found_faithful(self, family: ModelFamily, fitted: Fitted) -> None:
        worst = check_fidelity(family.name, fitted, sample().X_stop)
        assert worst <= 1e-6

    def test_its_parameters_can_be_put_on_record(self, fitted: Fitted) -> None:
        assert fitted.parameters
        assert all(type(value) in (int, float, str, bool) for value in fitted.parameters.values())

    def test_many_columns_and_no_category_are_no_trouble(self, family: ModelFamily) -> None:
        random = np.random.default_rng(0)
        columns = tuple(Column(name=f"x{j}", type=ColumnType.NUMBER) for j in range(60))
        X = random.normal(size=(300, 60))
        y = (X[:, 0] > 0).astype(np.float64)
        fitted = family.fit(
            Sample(X=X, y=y, weight=np.ones(300), X_stop=X, y_stop=y, columns=columns), seed=0
        )
        check_fidelity(family.name, fitted, X)


def probabilities(fitted: Fitted, X: NDArray[np.float64]) -> Vector:
    """What a bundle would answer before calibration."""
    return fitted.link.probability(fitted.link.margin(fitted.scorer.margins(X)))


def same_arrays(one: Arrays, other: Arrays) -> bool:
    """Whether two scorers are stored as the same bytes."""
    return one.keys() == other.keys() and all(
        array.dtype == other[name].dtype and array.tobytes() == other[name].tobytes()
        for name, array in one.items()
    )
