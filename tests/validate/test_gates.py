import msgspec
import numpy as np
import pytest

from gyroscope.findings import Finding, Kind, Verdict
from gyroscope.stats.metrics import metrics
from gyroscope.validate.base import Evaluation
from gyroscope.validate.gates import (
    BetterThanBaseRate,
    Calibrated,
    EnoughRows,
    RanksBetterThanChance,
    default_gates,
    run_gates,
)


def evaluation(y: np.ndarray, p: np.ndarray) -> Evaluation:
    base_rate = float(y.mean()) if y.size else 0.5
    return Evaluation(
        y=y,
        p=p,
        p_base_rate=np.full_like(p, base_rate),
        threshold=0.5,
        metrics=metrics(y, p, 0.5),
    )


def good(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from their scores."""
    rng = np.random.default_rng(seed)
    p = rng.beta(1, 3, n)
    return (rng.random(n) < p).astype(float), p


def verdicts(y: np.ndarray, p: np.ndarray) -> dict[str, Verdict]:
    return {f.check: f.verdict for f in run_gates(evaluation(y, p), default_gates())}


def test_a_good_model_passes_every_gate() -> None:
    assert set(verdicts(*good(0, 2000)).values()) == {Verdict.OK}


def test_there_is_a_finding_for_each_gate_in_order() -> None:
    gates = default_gates()
    findings = run_gates(evaluation(*good(0, 500)), gates)
    assert [f.check for f in findings] == [gate.name for gate in gates]
    assert {f.kind for f in findings} == {Kind.GATE}
    for finding in findings:
        assert msgspec.json.decode(msgspec.json.encode(finding), type=Finding) == finding


def test_the_base_rate_itself_does_not_pass() -> None:
    y, p = good(1, 2000)
    found = verdicts(y, np.full_like(p, y.mean()))
    assert found["better_than_base_rate"] is Verdict.ALARM
    assert found["roc_auc"] is Verdict.ALARM


def test_a_model_turned_around_does_not_pass() -> None:
    y, p = good(2, 2000)
    found = verdicts(y, 1 - p)
    assert found["better_than_base_rate"] is Verdict.ALARM
    assert found["roc_auc"] is Verdict.ALARM


def test_random_scores_pass_no_more_often_than_the_error_allows() -> None:
    rng = np.random.default_rng(3)
    passed = 0
    for _ in range(300):
        y, p = (rng.random(300) < 0.3).astype(float), rng.uniform(0.25, 0.35, 300)
        passed += RanksBetterThanChance().check(evaluation(y, p)).verdict is Verdict.OK
    # One side of a 95 % interval: 2.5 %, plus three standard errors of 300 runs.
    assert passed / 300 <= 0.025 + 0.027


def test_overconfident_scores_are_a_warning_and_no_bar() -> None:
    y, p = good(4, 3000)
    logit = np.log(p / (1 - p))
    finding = Calibrated().check(evaluation(y, 1 / (1 + np.exp(-3 * logit))))
    assert finding.verdict is Verdict.WARNING
    assert finding.interval is not None


@pytest.mark.parametrize(("n", "positives"), [(99, 40), (500, 9), (500, 491)])
def test_few_rows_or_few_of_a_class_do_not_pass(n: int, positives: int) -> None:
    y = (np.arange(n) < positives).astype(float)
    finding = EnoughRows().check(evaluation(y, np.full(n, 0.5)))
    assert finding.verdict is Verdict.ALARM
    assert f"{n} test rows, {min(positives, n - positives)} of the rarer class" in finding.detail


def test_no_rows_at_all_do_not_pass_and_do_not_break() -> None:
    assert set(verdicts(np.empty(0), np.empty(0)).values()) == {Verdict.ALARM}


def test_the_limit_of_the_auc_is_held_against_the_lower_bound() -> None:
    y, p = good(5, 2000)
    auc = metrics(y, p, 0.5)["roc_auc"]
    below = RanksBetterThanChance(limit=auc.interval.low - 0.001)
    above = RanksBetterThanChance(limit=auc.interval.low + 0.001)
    assert below.check(evaluation(y, p)).verdict is Verdict.OK
    assert above.check(evaluation(y, p)).verdict is Verdict.ALARM


def test_better_than_the_base_rate_says_by_how_much() -> None:
    finding = BetterThanBaseRate().check(evaluation(*good(6, 2000)))
    assert finding.value is not None
    assert finding.interval is not None
    assert 0 < finding.interval.low < finding.value
    assert f"{finding.value:.4f} nats lower than the base rate's" in finding.detail
