"""The gates of models of several classes and of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from gyroscope.data.contract import Task
from gyroscope.data.performance import performance
from gyroscope.findings import Verdict
from gyroscope.validate.base import Evaluation
from gyroscope.validate.gates import default_gates, run_gates


def verdicts(task: Task, y: np.ndarray, p: np.ndarray, base: np.ndarray) -> dict[str, Verdict]:
    evaluation = Evaluation(
        y=y,
        p=p,
        p_base_rate=np.broadcast_to(base, p.shape),
        threshold=None,
        metrics=performance(task, y, p, None),
        task=task,
    )
    return {f.check: f.verdict for f in run_gates(evaluation, default_gates(task))}


def classes(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes drawn from their scores."""
    random = np.random.default_rng(seed)
    p = random.dirichlet([0.5, 0.5, 0.5, 0.2], n)
    y = (p.cumsum(axis=1) < random.uniform(size=(n, 1))).sum(axis=1)
    return np.minimum(y, 3).astype(float), p


def test_a_good_model_of_several_classes_passes_every_gate() -> None:
    y, p = classes(0, 2000)
    found = verdicts("multiclass", y, p, p.mean(axis=0))
    assert found == dict.fromkeys(
        ("enough_rows", "better_than_base_rate", "roc_auc", "calibration_error"), Verdict.OK
    )


def test_scores_of_the_wrong_classes_do_not_pass() -> None:
    y, p = classes(1, 2000)
    found = verdicts("multiclass", y, p[:, [1, 2, 3, 0]], p.mean(axis=0))
    assert found["better_than_base_rate"] is found["roc_auc"] is Verdict.ALARM
    assert found["calibration_error"] is Verdict.WARNING


@pytest.mark.parametrize(("others", "verdict"), [(9, Verdict.ALARM), (10, Verdict.OK)])
def test_some_classes_may_be_rare_if_not_all_others_are(others: int, verdict: Verdict) -> None:
    y = np.repeat([0.0, 1.0, 2.0], [500, others - 1, 1])
    p = np.full((len(y), 4), 0.25)
    assert verdicts("multiclass", y, p, p[0])["enough_rows"] is verdict


def test_a_model_of_numbers_must_explain_something() -> None:
    random = np.random.default_rng(2)
    predicted = random.normal(size=500)
    y = predicted + random.normal(size=500)
    mean = np.array(y.mean())
    assert verdicts("regression", y, predicted, mean) == {
        "enough_rows": Verdict.OK,
        "better_than_base_rate": Verdict.OK,
    }
    constant = np.full(500, y.mean())
    assert verdicts("regression", y, constant, mean)["better_than_base_rate"] is Verdict.ALARM
    assert verdicts("regression", y, -predicted, mean)["better_than_base_rate"] is Verdict.ALARM
    assert verdicts("regression", y[:99], predicted[:99], mean)["enough_rows"] is Verdict.ALARM
