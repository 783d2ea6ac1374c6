"""Trials and probations on seeded streams whose truth is known."""

import math
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from gyroscope.decisions import Trial, TrialOutcome, TrialVerdict
from gyroscope.findings import Kind, Verdict, Window
from gyroscope.promote.trial import Rows, Rules, judge_trial

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(days=28)
TRIAL = Trial(candidate=2, incumbent=1, since=START, until=END)
RULES = Rules(alpha=0.05, minimum_improvement=0.001, min_rows=100)
NO_ROWS = np.empty(0)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def stream(
    seed: int,
    *,
    windows: int,
    rows: int,
    incumbent: float = 0.8,
    candidate: float = 0.8,
    restless: float = 0.0,
) -> Rows:
    """Rows scored by two models that see the truth through noise of the given sizes.

    0.8 against 0.8 is two equal models; 0.8 against 0.5 a gain of 0.03 nats. ``restless`` is how
    much the candidate's log-odds are off in a window, with mean 0.
    """
    rng = np.random.default_rng(seed)
    n = windows * rows
    batch = np.repeat(np.arange(windows), rows)
    truth = rng.normal(-1, 1.2, n)
    off = restless * rng.normal(size=windows)[batch]
    return Rows(
        y=(rng.random(n) < sigmoid(truth)).astype(float),
        incumbent=sigmoid(truth + rng.normal(0, incumbent, n)),
        candidate=sigmoid(truth + rng.normal(0, candidate, n) + off),
        batch=batch,
        incumbent_threshold=0.5,
        candidate_threshold=0.5,
    )


def first(rows: Rows, windows: int) -> Rows:
    """The rows of the first windows."""
    seen = rows.batch < windows
    return msgspec.structs.replace(
        rows,
        y=rows.y[seen],
        incumbent=rows.incumbent[seen],
        candidate=rows.candidate[seen],
        batch=rows.batch[seen],
    )


def judge(
    rows: Rows, *, rules: Rules = RULES, kind: Kind = Kind.TRIAL, now: datetime = START
) -> TrialOutcome:
    return judge_trial(TRIAL, rows, rules, kind=kind, now=now, window=Window(START, END))


def end(rows: Rows, *, kind: Kind = Kind.TRIAL) -> tuple[TrialVerdict, int]:
    """The first verdict other than to go on, and after how many windows it came."""
    windows = int(rows.batch.max()) + 1
    for k in range(1, windows + 1):
        verdict = judge(first(rows, k), kind=kind).verdict
        if verdict is not TrialVerdict.CONTINUE:
            return verdict, k
    return TrialVerdict.CONTINUE, windows


@pytest.mark.parametrize("restless", [0.0, 0.15])
def test_equal_models_are_exchanged_in_at_most_alpha_of_trials(restless: float) -> None:
    rules = msgspec.structs.replace(RULES, minimum_improvement=0.0)  # the least favourable null
    runs, exchanged = 100, 0
    for seed in range(runs):
        rows = stream(seed, windows=12, rows=300, restless=restless)
        looks = (judge(first(rows, k), rules=rules).verdict for k in range(1, 13))
        exchanged += TrialVerdict.BETTER in looks
    assert exchanged / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.slow
@pytest.mark.parametrize("restless", [0.0, 0.05, 0.15, 0.3])
@pytest.mark.parametrize("rows", [100, 500])
def test_equal_models_are_exchanged_in_at_most_alpha_of_long_trials(
    restless: float, rows: int
) -> None:
    rules = msgspec.structs.replace(RULES, minimum_improvement=0.0)
    runs, exchanged = 100, 0
    for seed in range(runs):
        shown = stream(seed, windows=28, rows=rows, restless=restless)
        looks = (judge(first(shown, k), rules=rules).verdict for k in range(1, 29))
        exchanged += TrialVerdict.BETTER in looks
    assert exchanged / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(("rows", "windows"), [(1000, 10), (6000, 4)])
def test_a_clearly_better_challenger_passes_within_a_few_windows(rows: int, windows: int) -> None:
    ends = [end(stream(s, windows=windows, rows=rows, candidate=0.5)) for s in range(20)]
    assert all(verdict is TrialVerdict.BETTER for verdict, _ in ends)
    assert np.median([k for _, k in ends]) <= windows / 2 + 1


def test_a_worse_challenger_is_given_up_before_its_time() -> None:
    ends = [end(stream(s, windows=10, rows=1000, candidate=1.1)) for s in range(10)]
    assert all(verdict is TrialVerdict.NOT_BETTER for verdict, _ in ends)


def test_a_challenger_whose_gain_is_below_the_minimum_is_not_promoted() -> None:
    rows = stream(1, windows=10, rows=1000, candidate=0.5)
    strict = msgspec.structs.replace(RULES, minimum_improvement=0.06)
    assert judge(rows).verdict is TrialVerdict.BETTER
    assert judge(rows, rules=strict).verdict is TrialVerdict.NOT_BETTER


@pytest.mark.parametrize("bad", ["constant", "inverted", "shuffled"])
def test_a_grossly_bad_version_is_rolled_back_after_its_first_windows(bad: str) -> None:
    # On probation the previous champion is the candidate and the bad version the incumbent.
    for seed in range(10):
        rows = stream(seed, windows=2, rows=600, candidate=0.5)
        scores = {
            "constant": np.full_like(rows.y, 0.5),
            "inverted": 1 - rows.candidate,
            "shuffled": np.random.default_rng(seed).permutation(rows.candidate),
        }[bad]
        rows = msgspec.structs.replace(rows, incumbent=scores)
        verdict, windows = end(rows, kind=Kind.PROBATION)
        assert verdict is TrialVerdict.BETTER
        assert windows <= 2


def test_a_trial_takes_two_windows_where_a_probation_may_end_after_one() -> None:
    rows = stream(2, windows=1, rows=6000, candidate=0.0, incumbent=1.5)
    assert judge(rows).verdict is TrialVerdict.CONTINUE
    assert judge(rows, kind=Kind.PROBATION).verdict is TrialVerdict.BETTER


def test_a_challenger_that_ranks_worse_is_not_promoted_whatever_its_log_loss() -> None:
    rows = stream(3, windows=5, rows=2000, incumbent=0.3, candidate=0.8)
    # A better ranking, but wildly overconfident: the log-loss prefers the candidate.
    logit = np.log(rows.incumbent / (1 - rows.incumbent))
    outcome = judge(msgspec.structs.replace(rows, incumbent=sigmoid(6 * logit)))
    assert outcome.trial.log_e > math.log(20)
    assert outcome.verdict is TrialVerdict.CONTINUE
    auc = next(f for f in outcome.findings if f.check == "roc_auc")
    assert auc.verdict is Verdict.NOTICE


def test_identical_models_expire() -> None:
    rows = stream(4, windows=3, rows=200)
    same = msgspec.structs.replace(rows, candidate=rows.incumbent)
    assert judge(same).verdict is TrialVerdict.CONTINUE
    assert judge(same, now=END).verdict is TrialVerdict.EXPIRED


def test_the_order_of_rows_does_not_matter() -> None:
    rows = stream(5, windows=3, rows=200)
    order = np.random.default_rng(0).permutation(600)
    mixed = msgspec.structs.replace(
        rows,
        y=rows.y[order],
        incumbent=rows.incumbent[order],
        candidate=rows.candidate[order],
        batch=rows.batch[order],
    )
    assert judge(mixed).trial.log_e == pytest.approx(judge(rows).trial.log_e)


def test_too_few_rows_say_how_many_are_needed_and_can_expire() -> None:
    rows = stream(6, windows=1, rows=40)
    outcome = judge(rows)
    (finding,) = outcome.findings
    assert outcome.verdict is TrialVerdict.CONTINUE
    assert outcome.trial.n == 40
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.n_needed == 100
    assert "40 labelled rows so far" in outcome.reason
    assert judge(rows, now=END).verdict is TrialVerdict.EXPIRED


def test_rows_of_one_class_are_too_few_however_many() -> None:
    rows = stream(7, windows=2, rows=200, candidate=0.1)
    outcome = judge(msgspec.structs.replace(rows, y=np.zeros(400)))
    assert outcome.verdict is TrialVerdict.CONTINUE
    assert outcome.findings[0].n_needed == 800


def test_a_trial_without_rows_goes_on() -> None:
    rows = Rows(
        y=NO_ROWS,
        incumbent=NO_ROWS,
        candidate=NO_ROWS,
        batch=np.empty(0, dtype=np.int64),
        incumbent_threshold=0.5,
        candidate_threshold=0.5,
    )
    assert judge(rows).verdict is TrialVerdict.CONTINUE


def test_findings_hold_the_numbers_and_the_sentence_names_both_versions() -> None:
    outcome = judge(stream(8, windows=4, rows=1000, candidate=0.5), kind=Kind.PROBATION)
    assert [f.check for f in outcome.findings] == ["paired_log_loss", "mcnemar", "roc_auc"]
    assert {f.kind for f in outcome.findings} == {Kind.PROBATION}
    loss = outcome.findings[0]
    assert loss.interval is not None
    assert loss.value is not None
    assert loss.interval.low < loss.value < loss.interval.high
    assert loss.e_value == pytest.approx(math.exp(outcome.trial.log_e))
    assert loss.threshold == pytest.approx(20)
    assert "version 2 against 1 on 4,000 labelled rows of 4 windows" in outcome.reason
    assert (outcome.trial.n, outcome.trial.windows) == (4000, 4)
