from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from gyroscope.data.splits import split_rows
from gyroscope.data.training_set import TrainingSet, load_training_set
from gyroscope.errors import ConfigError, DataError
from gyroscope.testing.worlds import CALM, CONTRACT, to_table
from gyroscope.train import candidates as module
from gyroscope.train.candidates import Candidate, Plan, best, fit_candidates

ROWS: TrainingSet = load_training_set(to_table(CALM.events(0, 5)), CONTRACT).rows
ALL = np.ones(len(ROWS), dtype=bool)


def plan(**fields: Any) -> Plan:
    given = {"families": ["base_rate", "logistic_regression"], "spans": {"all rows": ALL}}
    return Plan(rows=ROWS, split=split_rows(ROWS, seed=0), contract=CONTRACT, **{**given, **fields})


def test_every_family_is_fitted_on_every_span() -> None:
    late = ROWS.time >= np.median(ROWS.time)
    found = list(fit_candidates(plan(spans={"all rows": ALL, "late rows": late})))
    assert [candidate.name for candidate in found] == [
        "base_rate on all rows",
        "logistic_regression on all rows",
        "base_rate on late rows",
        "logistic_regression on late rows",
    ]
    assert found[0].rows == 700
    assert found[2].rows == 200
    assert all(candidate.seconds > 0 for candidate in found)


def test_a_span_without_enough_rows_of_a_class_is_passed_over() -> None:
    few = np.zeros(len(ROWS), dtype=bool)
    few[np.flatnonzero(ROWS.y == 1)[:4]] = True
    few[np.flatnonzero(ROWS.y == 0)[:50]] = True
    assert list(fit_candidates(plan(spans={"few": few}))) == []
    with pytest.raises(DataError, match="no candidate could be fitted: every span lacks rows of a"):
        best([], "log_loss")


def test_nothing_is_fitted_before_it_is_asked_for() -> None:
    candidates = fit_candidates(plan(families=["base_rate", "no such family"]))
    assert next(candidates).family == "base_rate"
    with pytest.raises(ConfigError, match="no model family 'no such family'"):
        next(candidates)


@pytest.mark.parametrize(
    ("metric", "winner"), [("log_loss", "logistic_regression"), ("roc_auc", "logistic_regression"),
                           ("brier", "logistic_regression"), ("recall", "base_rate")]
)  # fmt: skip
def test_the_best_candidate_is_best_in_the_direction_of_the_metric(
    metric: str, winner: str
) -> None:
    found: list[Candidate] = list(fit_candidates(plan()))
    if metric == "recall":  # any other metric is better if it is higher
        found[0].metrics["recall"], found[1].metrics["recall"] = 1.0, 0.5
    assert best(found, metric).family == winner


def test_very_many_rows_are_thinned_evenly() -> None:
    few = msgspec.structs.replace(plan(families=["base_rate"]), most_rows=100)
    [candidate] = fit_candidates(few)
    assert candidate.rows == 100
    thinned = module._thinned(np.arange(1000), 100)
    assert (thinned[0], thinned[-1], len(thinned)) == (0, 999, 100)
    assert set(np.diff(thinned).tolist()) <= {10, 11}
