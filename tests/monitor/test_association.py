import numpy as np
import pytest

from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.outcomes import outcomes
from gyroscope.data.profile_spec import profile_spec
from gyroscope.findings import Kind, Verdict, Window
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
REFERENCE = outcomes(X, Y, P, threshold=0.5, spec=SPEC)


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
