"""Prices of drift and associations for targets of several classes and of numbers."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

import msgspec
import numpy as np
import pytest

from gyroscope.bundle.reference import Reference
from gyroscope.data.cells import ColumnSpec, ProfileSpec
from gyroscope.data.contract import Column, ColumnType, Contract, Role, Task
from gyroscope.data.outcomes import coarse_cells, coarse_codes, contingency, label_codes
from gyroscope.data.performance import performance
from gyroscope.data.profile import profile
from gyroscope.data.training_set import TrainingSet
from gyroscope.findings import Finding, Verdict, Window
from gyroscope.monitor.association import association_findings
from gyroscope.monitor.changes import DriftRules
from gyroscope.monitor.drift import drift_findings, score_drift_findings
from gyroscope.monitor.performance import estimated_performance
from gyroscope.monitor.price import priced
from gyroscope.stats.metrics import LOWER_IS_BETTER
from gyroscope.train.reference import make_reference

RULES = DriftRules(min_rows=100)
TASKS: tuple[Task, ...] = ("multiclass", "regression")
METRICS = [("multiclass", m) for m in ("log_loss", "brier", "roc_auc")] + [
    ("regression", m) for m in ("rmse", "mae")
]
COLUMNS = (
    Column(name="signal", type=ColumnType.NUMBER),
    Column(name="noise", type=ColumnType.NUMBER),
    Column(name="plan", type=ColumnType.CATEGORY, categories=("a", "b", "c")),
)
CONTRACTS = {
    "multiclass": Contract(
        columns=(*COLUMNS, Column(name="kind", type=ColumnType.CATEGORY, role=Role.TARGET)),
        task="multiclass",
        classes=("ash", "elm", "oak"),
    ),
    "regression": Contract(
        columns=(*COLUMNS, Column(name="price", type=ColumnType.NUMBER, role=Role.TARGET)),
        task="regression",
    ),
}
PLAN = 2  # the column


class Rows(msgspec.Struct, frozen=True):
    """Rows of a world: what is known of them, what is predicted, and what came true."""

    X: np.ndarray
    y: np.ndarray
    p: np.ndarray


def rows(
    task: str,
    seed: int,
    n: int,
    *,
    spread: float = 1.0,
    noise: float = 0.0,
    plans: tuple[float, ...] = (0.5, 0.3, 0.2),
    concept: float = 1.0,
    by_plan: float = 0.0,
) -> Rows:
    """Rows on which the predictions are right in every cell while ``concept`` is 1 and labels go
    by no plan.

    Near 0 the signal says little of the class; plan "c" is hard, and the noise says nothing. Of
    numbers the error is larger for large signals.
    """
    rng = np.random.default_rng([seed, TASKS.index("regression")])
    X = np.column_stack(
        [
            spread * rng.normal(size=n),
            noise + rng.normal(size=n),
            rng.choice(3, n, p=plans),
        ]
    )
    hard, effect = X[:, PLAN] == 2, by_plan * (X[:, PLAN] - 1)
    if task == "regression":
        p = 100 + 30 * X[:, 0]
        error = (2 + 4 * np.abs(X[:, 0])) * np.where(hard, 3.0, 1.0)
        y = 100 + 30 * (concept * X[:, 0] + effect) + error * rng.normal(size=n)
        return Rows(X, y, p)
    strength = 3 * np.where(hard, 0.2, 1.0)
    margins = np.outer(X[:, 0], [1.0, -1.0, 0.0]) * strength[:, None]
    p = np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True)
    moved = concept * margins + np.outer(effect, [0.0, 0.0, 1.0])
    y = (moved + rng.gumbel(size=p.shape)).argmax(axis=1)
    return Rows(X, y.astype(float), p)


@cache
def reference(task: str, n: int = 20_000) -> Reference:
    of = rows(task, 1, n)
    training = TrainingSet(
        X=of.X,
        y=of.y,
        weight=np.ones(n),
        time=np.full(n, np.nan),
        group=np.full(n, -1),
    )
    contract = CONTRACTS[task]
    return make_reference(
        contract, training, training, of.p, threshold=None, window=timedelta(days=1)
    )


def examined(
    task: str, of: Rows, day: Window, metric: str, known: Reference | None = None
) -> dict[str, Finding]:
    """The findings of drift by subject, and the estimated metric as "estimate"."""
    known = known or reference(task)
    current = profile(of.X, known.columns.spec)
    drift = [
        *drift_findings(known.columns, current, day, RULES),
        *score_drift_findings(known.scores, profile(_table(of.p), known.scores.spec), day, RULES),
    ]
    expected = estimated_performance(
        of.p,
        None,
        day,
        task=CONTRACTS[task].task,
        reference=known.metrics,
        calibration=known.calibration,
        losses=known.losses,
        score=known.scores.spec.columns[0],
        min_rows=100,
    )
    estimate = next(f for f in expected if f.check in (metric, "metrics"))
    unit = known.metrics[metric].value if task == "regression" else 1.0
    done = priced(drift, known, current, estimate, metric=metric, harmless=0.02 * unit)
    return {"estimate": estimate, **{f.subject: f for f in done if f.check == "psi"}}


def associations(task: str, of: Rows, day: Window) -> dict[str, Finding]:
    """The findings of association by column, with the error rate of daily windows."""
    known = reference(task)
    assert known.losses is not None
    assert known.labels is not None
    found = association_findings(
        known.losses.labels,
        of.X,
        of.y,
        known.columns.spec,
        day,
        label=known.labels.spec.columns[0],
        rules=DriftRules(alpha=1e-4),
    )
    return {f.subject: f for f in found}


def _table(p: np.ndarray) -> np.ndarray:
    return p if p.ndim == 2 else p[:, None]


def lost(task: str, of: Rows, metric: str) -> float:
    """How much worse the metric is on these rows, as their labels show."""
    value = performance(CONTRACTS[task].task, of.y, of.p, None)[metric].value
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return sign * (value - reference(task).metrics[metric].value)


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_drift_of_a_column_that_says_nothing_is_a_notice(
    task: str, metric: str, day: Window
) -> None:
    found = examined(task, rows(task, 3, 5000, noise=0.5), day, metric)["noise"]
    assert found.verdict is Verdict.NOTICE
    assert found.detail.endswith("Harmless as far as can be seen.")
    assert found.cost_interval is not None
    assert found.cost_interval.low <= 0 <= found.cost_interval.high


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_drift_that_costs_is_priced_at_what_labels_show_later(
    task: str, metric: str, day: Window
) -> None:
    """More rows of the hard plan."""
    of = rows(task, 4, 5000, plans=(0.2, 0.2, 0.6))
    found, cost = examined(task, of, day, metric)["plan"], lost(task, of, metric)
    assert found.verdict is Verdict.WARNING
    assert found.cost == pytest.approx(cost, rel=0.2)
    assert found.cost_interval is not None
    assert found.cost_interval.low > 0.5 * cost > 0


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_scores_that_promise_less_are_priced_too(task: str, metric: str, day: Window) -> None:
    """The signal moves to where classes are told apart less well, or numbers are farther off."""
    of = rows(task, 5, 5000, spread=2.0 if task == "regression" else 0.4)
    found, cost = examined(task, of, day, metric), lost(task, of, metric)
    for subject in ("signal", "score" if task == "regression" else "score of ash"):
        assert found[subject].verdict is Verdict.WARNING
    score = found["score" if task == "regression" else "score of ash"]
    assert score.suspects == ("signal",)
    assert score.cost is not None
    assert score.cost > 0.5 * cost > 0
    interval, at_birth = found["estimate"].interval, reference(task).metrics[metric].value
    assert interval is not None
    if task == "multiclass":
        value = at_birth + cost * (1 if metric in LOWER_IS_BETTER else -1)
        assert interval.low <= value <= interval.high


@pytest.mark.parametrize("task", TASKS)
def test_a_window_like_the_reference_is_estimated_as_labels_show_it(task: str, day: Window) -> None:
    of = rows(task, 6, 2000)
    for of_task, metric in METRICS:
        if of_task == task:
            estimate = examined(task, of, day, metric)["estimate"]
            value = performance(CONTRACTS[task].task, of.y, of.p, None)[metric].value
            assert estimate.verdict is Verdict.OK
            assert estimate.interval is not None
            assert estimate.interval.low <= value <= estimate.interval.high
            assert "changed relation of features and label would not show" in estimate.detail


@pytest.mark.parametrize(("task", "metric"), METRICS)
def test_where_no_labelled_row_is_like_the_window_nothing_is_estimated(
    task: str, metric: str, day: Window
) -> None:
    found = examined(task, rows(task, 7, 5000, noise=20.0), day, metric)["noise"]
    assert found.verdict is Verdict.WARNING
    assert found.cost is None
    assert "Its price is not estimable: 100 % of the rows are like none" in found.detail
    few = examined(
        task,
        rows(task, 8, 5000, plans=(0.05, 0.05, 0.9)),
        day,
        metric,
        reference(task, 100),
    )["plan"]
    assert few.cost is None
    assert "the labelled rows are worth" in few.detail


def test_numbers_predicted_beyond_all_before_have_no_estimate(day: Window) -> None:
    of = rows("regression", 9, 1000)
    far = msgspec.structs.replace(of, p=of.p + 500)
    estimate = examined("regression", far, day, "rmse")["estimate"]
    assert estimate.verdict is Verdict.NOT_ENOUGH_DATA
    assert estimate.detail == (
        "Not estimable before labels: 100 % of the rows are like none that had a label."
    )


# -- associations -------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_the_column_whose_relation_to_the_label_changed_is_named(task: str, day: Window) -> None:
    lost = associations(task, rows(task, 10, 2000, concept=0.0), day)
    assert lost["signal"].verdict is Verdict.WARNING
    assert lost["noise"].verdict is Verdict.OK
    what = "correlation" if task == "regression" else "mutual information"
    assert lost["signal"].detail.startswith(f"{what} of signal and label from ")
    assert lost["plan"].check == "mutual_information"
    found = associations(task, rows(task, 11, 2000, by_plan=1.5), day)
    assert found["plan"].verdict is Verdict.WARNING
    assert found["noise"].verdict is Verdict.OK


@pytest.mark.parametrize("task", TASKS)
def test_without_change_hardly_any_association_has_a_finding(task: str, day: Window) -> None:
    verdicts = {
        f.verdict
        for seed in range(60)
        for f in associations(task, rows(task, 100 + seed, 300), day).values()
    }
    assert verdicts == {Verdict.OK}


@pytest.mark.parametrize("task", TASKS)
def test_a_change_of_mix_alone_is_no_change_of_association(task: str, day: Window) -> None:
    found = associations(task, rows(task, 12, 3000, noise=1.0), day)
    assert {f.verdict for f in found.values()} == {Verdict.OK}


@pytest.mark.parametrize("task", TASKS)
def test_few_labels_are_too_few_for_any_column(task: str, day: Window) -> None:
    (one,) = associations(task, rows(task, 13, 60), day).values()
    assert one.subject == "all columns"
    assert one.n_needed == 120


def test_classes_of_few_rows_count_as_one(day: Window) -> None:
    """Sixty classes: of a window of 300 rows each would have five."""
    rng = np.random.default_rng(14)
    column = ColumnSpec(name="x", type=ColumnType.NUMBER, edges=(0.0,), bins=(0, 1))
    label = ColumnSpec(
        name="label", type=ColumnType.CATEGORY, categories=tuple(map(str, range(60)))
    )
    spec = ProfileSpec(columns=(column,))

    def sample(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = np.where(rng.random(n) < 0.5, 0, rng.integers(0, 60, n)).astype(float)
        return rng.normal(size=(n, 1)), y

    X, y = sample(5000)
    codes, labels = label_codes(y, label)
    table = contingency(coarse_codes(X[:, 0], column), codes, coarse_cells(column), labels)
    (found,) = association_findings([table], *sample(300), spec, day, label=label, rules=RULES)
    assert found.verdict is Verdict.OK
    assert found.value is not None
    assert abs(found.value) < 0.02
