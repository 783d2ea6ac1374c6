"""A reference with columns of every kind, and windows of the same population to change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.profile import Profile, profile
from gyroscope.data.profile_spec import profile_spec
from gyroscope.findings import Finding, Window
from gyroscope.monitor.changes import DriftRules
from gyroscope.monitor.drift import drift_findings

Change = Callable[[np.ndarray, np.random.Generator], None]

LEVELS = 1000
NORMALS = 12
NAMES = (
    *(f"normal_{i}" for i in range(NORMALS)),
    "amount", "claims", "visits", "age", "income", "plan", "city", "flag",
)  # fmt: skip
CITY_SHARES = 1 / np.arange(1, LEVELS + 1)
CITY_SHARES /= CITY_SHARES.sum()


class People:
    """The population: twenty columns, and what a model trained on a sample of it would keep."""

    def __init__(self, n_reference: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        X = self.rows(n_reference, rng)
        cities, counts = np.unique(X[:, self.column("city")], return_counts=True)
        self._cities = cities[np.argsort(-counts, kind="stable")].astype(int)
        self.contract = self._contract()
        self.spec = profile_spec(self._encoded(X), self.contract.features, in_time_order=True)
        self.reference = self.profiled(X)

    @staticmethod
    def column(name: str) -> int:
        return NAMES.index(name)

    def _contract(self) -> Contract:
        kinds = dict.fromkeys(NAMES, ColumnType.NUMBER) | {"flag": ColumnType.BOOLEAN}
        categories = {"plan": ("basic", "plus", "pro"), "city": tuple(map(str, self._cities))}
        columns = [
            Column(
                name=name,
                type=ColumnType.CATEGORY if name in categories else kinds[name],
                categories=categories.get(name, ()),
                unknown="other",
                nullable=True,
                unit="years" if name == "age" else "",
            )
            for name in NAMES
        ]
        target = Column(name="churn", type=ColumnType.BOOLEAN, role=Role.TARGET)
        return Contract(columns=(*columns, target), positive=("true",), negative=("false",))

    def rows(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Rows before encoding: cities by their rank in the population."""
        income = np.where(rng.random(n) < 0.02, np.nan, rng.normal(3000, 800, n))
        return np.column_stack(
            [
                rng.normal(size=(n, NORMALS)),
                rng.lognormal(0, 1.5, n),
                np.where(rng.random(n) < 0.6, 0.0, rng.exponential(size=n)),
                rng.poisson(3, n),
                rng.integers(18, 90, n),
                income,
                rng.choice(3, n, p=[0.3, 0.5, 0.2]),
                rng.choice(LEVELS, n, p=CITY_SHARES),
                rng.random(n) < 0.03,
            ]
        )

    def _encoded(self, X: np.ndarray) -> np.ndarray:
        codes = np.full(LEVELS + 1, self._cities.size)
        codes[self._cities] = np.arange(self._cities.size)
        encoded = X.copy()
        encoded[:, self.column("city")] = codes[X[:, self.column("city")].astype(int)]
        return encoded

    def profiled(self, X: np.ndarray) -> Profile:
        return profile(self._encoded(X), self.spec)

    def window(self, n: int, seed: int, change: Change | None = None) -> Profile:
        """The profile of a window, changed in place before it is counted."""
        rng = np.random.default_rng(seed)
        X = self.rows(n, rng)
        if change is not None:
            change(X, rng)
        return self.profiled(X)


@pytest.fixture(scope="session")
def people() -> People:
    return People(20_000, seed=1)


@pytest.fixture(scope="session")
def make_people() -> type[People]:
    return People


@pytest.fixture(scope="session")
def day() -> Window:
    return Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))


@pytest.fixture(scope="session")
def drift(day: Window) -> Callable[[People, Profile], list[Finding]]:
    """The drift findings of a window with the settings' thresholds."""

    def findings(people: People, current: Profile) -> list[Finding]:
        return drift_findings(
            people.reference, current, day, DriftRules(material_psi=0.02, min_rows=100)
        )

    return findings
