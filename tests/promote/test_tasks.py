"""Trials and canaries of models of several classes and of numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.promote.test_trial import END, RULES, START, TRIAL

from gyroscope.data.contract import Task
from gyroscope.decisions import TrialOutcome, TrialVerdict
from gyroscope.findings import Kind, Verdict, Window
from gyroscope.promote.canary import Served, compare_canary
from gyroscope.promote.trial import Rows, judge_trial

WINDOW = Window(START, END)


def stream(task: Task, seed: int, *, incumbent: float, candidate: float, n: int = 3000) -> Rows:
    """Rows scored by two models that see the truth through noise of the given sizes."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=(n, 3)) * 1.5

    def scores(noise: float) -> np.ndarray:
        seen = truth + noise * random.normal(size=truth.shape)
        if task == "regression":
            return np.asarray(1000 + 50 * seen[:, 0])
        size = np.exp(seen)
        return np.asarray(size / size.sum(axis=1, keepdims=True))

    y = (truth + random.gumbel(size=truth.shape)).argmax(axis=1).astype(float)
    if task == "regression":
        y = 1000 + 50 * (truth[:, 0] + random.normal(size=n))
    return Rows(
        y=y,
        incumbent=scores(incumbent),
        candidate=scores(candidate),
        batch=np.arange(n) * 10 // n,
        incumbent_threshold=None,
        candidate_threshold=None,
        task=task,
        rmse=50 * math.hypot(1, incumbent) if task == "regression" else None,
    )


def judged(rows: Rows) -> TrialOutcome:
    return judge_trial(TRIAL, rows, RULES, kind=Kind.TRIAL, now=START, window=WINDOW)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_better_candidate_is_proven_and_a_worse_one_too(task: Task) -> None:
    better = judged(stream(task, 0, incumbent=1.5, candidate=0.3))
    assert better.verdict is TrialVerdict.BETTER
    assert judged(stream(task, 1, incumbent=0.3, candidate=1.5)).verdict is TrialVerdict.NOT_BETTER
    checks = [f.check for f in better.findings]
    assert checks == ["paired_log_loss", *(["mcnemar"] if task == "multiclass" else [])]


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_equal_models_are_hardly_ever_exchanged(task: Task) -> None:
    found = [
        judged(stream(task, 100 + k, incumbent=0.7, candidate=0.7, n=400)).verdict
        for k in range(60)
    ]
    assert found.count(TrialVerdict.BETTER) <= 60 * RULES.alpha + 3 * math.sqrt(60 * RULES.alpha)


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_gains_are_antisymmetric_and_bounded_however_wrong_a_model_is(task: Task) -> None:
    rows = stream(task, 3, incumbent=0.5, candidate=200.0, n=300)
    gains = rows.gains()
    assert np.abs(gains).max() <= math.log(1000)
    turned = Rows(
        y=rows.y,
        incumbent=rows.candidate,
        candidate=rows.incumbent,
        batch=rows.batch,
        incumbent_threshold=None,
        candidate_threshold=None,
        task=task,
        rmse=rows.rmse,
    )
    np.testing.assert_array_equal(turned.gains(), -gains)


def test_of_numbers_the_gain_is_that_of_the_normal_log_likelihood() -> None:
    rows = stream("regression", 4, incumbent=0.1, candidate=0.1, n=200)
    assert rows.rmse is not None
    old, new = (np.square((v - rows.y) / rows.rmse) / 2 for v in (rows.incumbent, rows.candidate))
    near = np.maximum(old, new) < 6.9
    np.testing.assert_allclose(rows.gains()[near], (old - new)[near], atol=1e-12)


def test_few_rows_are_not_enough_whatever_their_classes() -> None:
    rows = stream("multiclass", 5, incumbent=0.5, candidate=0.5, n=50)
    outcome = judged(rows)
    assert outcome.verdict is TrialVerdict.CONTINUE
    assert outcome.reason == "50 labelled rows so far; needed are 100"


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_worse_canary_is_an_alarm(task: Task) -> None:
    rows = stream(task, 6, incumbent=0.3, candidate=2.0)
    half = len(rows.y) // 2
    entity = [str(i) for i in range(half)]
    champion, canary = (
        Served(version=v, y=y, score=score, entity=entity, task=task, rmse=rows.rmse)
        for v, y, score in (
            (1, rows.y[:half], rows.incumbent[:half]),
            (2, rows.y[half:], rows.candidate[half:]),
        )
    )
    found = compare_canary(champion, canary, WINDOW, alpha=0.05, min_rows=100)
    assert found.verdict is Verdict.ALARM
