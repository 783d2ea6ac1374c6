import numpy as np
import pytest

from gyroscope.bundle.reference import Reference
from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.profile import profile
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.changes import DriftRules
from gyroscope.monitor.drift import drift_findings, score_drift_findings
from gyroscope.monitor.performance import estimated_performance
from gyroscope.monitor.price import priced
from gyroscope.stats.metrics import metrics

COLUMNS = (
    Column(name="signal", type=ColumnType.NUMBER),
    Column(name="noise", type=ColumnType.NUMBER),
)
RULES = DriftRules(min_rows=100)
THRESHOLD = 0.5


def rows(seed: int, n: int, signal: float = 0.0, noise: float = 0.0) -> np.ndarray:
    X = np.random.default_rng(seed).normal(size=(n, 2))
    return np.asarray(X + np.array([signal, noise]))


def chances(X: np.ndarray) -> np.ndarray:
    """Sure of large signals and unsure of those near 0; the noise says nothing."""
    return np.asarray(1 / (1 + np.exp(-3 * X[:, 0])))


def make_reference() -> Reference:
    from gyroscope.data.outcomes import outcomes
    from gyroscope.data.profile_spec import profile_spec, score_spec
    from gyroscope.stats.calibration_map import calibration_map
    from gyroscope.stats.excess_loss import ExcessReference

    X = rows(1, 20_000)
    p = chances(X)
    y = (np.random.default_rng(2).random(len(p)) < p).astype(float)
    spec = profile_spec(X, COLUMNS)
    return Reference(
        columns=profile(X, spec),
        scores=profile(p, score_spec(p)),
        n=len(p),
        positives=int(y.sum()),
        metrics=dict(metrics(y, p, THRESHOLD)),
        excess=ExcessReference(),
        outcomes=outcomes(X, y, p, threshold=THRESHOLD, spec=spec),
        calibration=calibration_map(y, p),
    )


REFERENCE = make_reference()


def examined(X: np.ndarray, day: Window, metric: str = "log_loss") -> dict[str, Finding]:
    p = chances(X)
    current = profile(X, REFERENCE.columns.spec)
    drift = [
        *drift_findings(REFERENCE.columns, current, day, RULES),
        *score_drift_findings(REFERENCE.scores, profile(p, REFERENCE.scores.spec), day, RULES),
    ]
    expected = estimated_performance(
        p,
        THRESHOLD,
        day,
        reference=REFERENCE.metrics,
        calibration=REFERENCE.calibration,
        min_rows=100,
    )
    known = next(f for f in expected if f.check == metric)
    done = priced(drift, REFERENCE, current, known, metric=metric, harmless=0.01)
    return {f.subject: f for f in done if f.check == "psi"}


def test_drift_of_a_column_that_says_nothing_is_harmless(day: Window) -> None:
    found = examined(rows(3, 5000, noise=0.5), day)
    assert found["noise"].verdict is Verdict.NOTICE
    assert found["noise"].detail.endswith("Harmless as far as can be seen.")
    assert found["noise"].cost == pytest.approx(0, abs=0.01)
    assert found["signal"].cost is None


def test_drift_to_where_the_model_is_unsure_has_the_price_that_labels_show_later(
    day: Window,
) -> None:
    X = rows(4, 5000) * np.array([0.3, 1.0])
    found = examined(X, day)
    p = chances(X)
    y = (np.random.default_rng(5).random(len(p)) < p).astype(float)
    lost = metrics(y, p, THRESHOLD)["log_loss"].value - REFERENCE.metrics["log_loss"].value
    for subject in ("signal", "score"):
        finding = found[subject]
        assert finding.verdict is Verdict.WARNING
        assert finding.cost == pytest.approx(lost, abs=0.03)
        assert finding.cost_interval is not None
        assert finding.cost_interval.low > 0.1
    assert found["score"].suspects == ("signal",)
    assert found["score"].kind is Kind.SCORE_DRIFT


def test_for_metrics_of_which_more_is_better_a_loss_is_a_cost_too(day: Window) -> None:
    found = examined(rows(6, 5000) * np.array([0.3, 1.0]), day, metric="roc_auc")
    assert found["signal"].cost is not None
    assert found["signal"].cost > 0.05
    assert "roc auc worse by" in found["signal"].detail


def test_where_the_reference_has_no_labels_nothing_is_called_harmless(day: Window) -> None:
    found = examined(rows(7, 5000, noise=20.0), day)
    assert found["noise"].verdict is Verdict.WARNING
