import numpy as np
import pytest

from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.outcomes import outcomes
from gyroscope.data.profile_spec import profile_spec
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.association import association_findings
from gyroscope.monitor.changes import DriftRules

COLUMNS = [
    Column(name="age", type=ColumnType.NUMBER),
    Column(name="plan", type=ColumnType.CATEGORY, categories=("a", "b", "c")),
    Column(name="noise", type=ColumnType.NUMBER),
]
RULES = DriftRules(alpha=1e-4)


def rows(seed: int, n: int, *, age: float = 1.0, plan: float = 1.0) -> tuple[np.ndarray, ...]:
    """Rows whose label depends on age and plan, and its chances as scores."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=n), rng.integers(0, 3, n), rng.normal(size=n)])
    p = 1 / (1 + np.exp(-(age * X[:, 0] + plan * (X[:, 1] - 1))))
    return X, (rng.random(n) < p).astype(float), p


X, Y, P = rows(0, 8000)
SPEC = profile_spec(X, COLUMNS)
REFERENCE = outcomes(X, Y, P, threshold=0.5, spec=SPEC).labels


def found(seed: int, n: int, day: Window, **world: float) -> dict[str, Verdict]:
    X, y, _ = rows(seed, n, **world)
    findings = association_findings(REFERENCE, X, y, SPEC, day, rules=RULES)
    assert all(f.kind is Kind.ASSOCIATION_DRIFT and f.detail.endswith(".") for f in findings)
    return {f.subject: f.verdict for f in findings}


def test_the_column_that_no_longer_tells_the_label_is_named(day: Window) -> None:
    assert found(1, 2000, day, age=0.0) == {
        "age": Verdict.WARNING,
        "plan": Verdict.OK,
        "noise": Verdict.OK,
    }
    assert found(2, 2000, day, plan=0.0)["plan"] is Verdict.WARNING


def test_a_small_change_on_many_rows_is_a_notice(day: Window) -> None:
    assert found(3, 100_000, day, age=0.85)["age"] is Verdict.NOTICE


def test_without_change_hardly_any_window_has_a_finding(day: Window) -> None:
    verdicts = [v for seed in range(100) for v in found(100 + seed, 500, day).values()]
    assert set(verdicts) == {Verdict.OK}


def test_few_labels_of_a_class_are_not_enough(day: Window) -> None:
    X, y, _ = rows(4, 300)
    y[:] = 0
    y[:20] = 1
    (one,) = association_findings(REFERENCE, X, y, SPEC, day, rules=RULES)
    assert one.verdict is Verdict.NOT_ENOUGH_DATA
    assert one.n_needed == pytest.approx(600)


CITY = [Column(name="city", type=ColumnType.CATEGORY, categories=tuple(map(str, range(100))))]


def cities(n: int, seed: int, *, usual: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a hundred cities, which have nothing to do with the label."""
    rng = np.random.default_rng(seed)
    city = np.where(rng.random(n) < usual, 0, np.minimum(rng.zipf(1.3, n) - 1, 99))
    return city.astype(float)[:, None], (rng.random(n) < 0.3).astype(float)


def of_cities(n_reference: int, n: int, day: Window, *, usual: float = 0.0) -> Finding:
    X, y = cities(n_reference, 5, usual=usual)
    spec = profile_spec(X, CITY)
    reference = outcomes(X, y, np.full(len(y), 0.3), threshold=0.5, spec=spec).labels
    current = cities(n, 6, usual=usual)
    (one,) = association_findings(reference, *current, spec, day, rules=RULES)
    return one


def test_a_hundred_categories_of_few_rows_are_pooled_and_no_information_is_below_0(
    day: Window,
) -> None:
    """A correction of the bias that outran the column once said "from -1.304 to -0.095"."""
    found = of_cities(2000, 300, day)
    assert found.verdict is Verdict.OK
    opening = "No sure change: mutual information of city and label from 0.00"
    assert found.detail.startswith(opening)
    assert "-" not in found.detail.partition(" nats (95 %")[0]


def test_rows_too_few_for_two_levels_ask_for_as_many_as_are_enough(day: Window) -> None:
    few = of_cities(20_000, 300, day, usual=0.95)
    assert few.verdict is Verdict.NOT_ENOUGH_DATA
    assert few.value is None
    assert few.detail.startswith("city: 300 rows with a value are too few")
    assert few.n_needed is not None
    assert of_cities(20_000, few.n_needed // 2, day, usual=0.95).value is None
    assert of_cities(20_000, round(few.n_needed * 1.5), day, usual=0.95).value is not None
    assert of_cities(300, 10_000, day, usual=0.95).n_needed is None
