import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from gyroscope.errors import DataError
from gyroscope.stats.e_detector import alarm_limit, log_boosts, next_shiryaev_roberts
from gyroscope.stats.excess_loss import (
    SHIFT_TILTS,
    SLOPE_TILTS,
    ExcessReference,
    excess_evidence,
    excess_loss,
    excess_losses,
    excess_reference,
)
from gyroscope.stats.losses import log_losses
from gyroscope.stats.random_effects import RandomEffects


def world(
    rng: np.random.Generator, n: int, *, shift: float = 0.0, slope: float = 1.0, mix: float = -1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels whose log-odds are slope times the scores' plus shift; ``mix`` moves the rows."""
    log_odds = rng.normal(mix, 1.2, n)
    y = rng.random(n) < 1 / (1 + np.exp(-slope * log_odds - shift))
    return y.astype(float), 1 / (1 + np.exp(-log_odds))


def calm(n: int = 10_000, batches: int = 10) -> ExcessReference:
    y, q = world(np.random.default_rng(100), n)
    return excess_reference(y, q, np.arange(n) * batches // n)


@given(st.integers(0, 2**32 - 1))
def test_the_excess_is_the_loss_beyond_the_entropy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q = rng.uniform(0.01, 0.99, 20)
    y = rng.random(20) < 0.5
    promised = entropy([q, 1 - q])
    np.testing.assert_allclose(excess_losses(y, q), log_losses(y, q) - promised, atol=1e-12)


def test_its_errors_are_those_of_labels_drawn_from_the_scores() -> None:
    rng = np.random.default_rng(1)
    q = rng.uniform(0.01, 0.9, 300)
    drawn = [excess_loss(rng.random(300) < q, q) for _ in range(3000)]
    found = [d for d in drawn if d is not None]
    for name in ("excess", "residual"):
        values = [getattr(f, name) for f in found]
        assert np.std(values) == pytest.approx(getattr(found[0], f"{name}_error"), rel=0.05)
        assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / math.sqrt(3000))
    assert excess_loss([], []) is None


@pytest.mark.parametrize("q", [[0.3], [0.02, 0.9], [0.4, 0.5, 0.7], [0.001] * 6])
def test_an_e_value_has_mean_one_over_all_labels_the_scores_allow(q: list[float]) -> None:
    # Every pattern of labels, weighted by its chance: exact, however rare the positives are.
    scores = np.array(q)
    total = {"log_e_slope": 0.0, "log_e_residual": 0.0, "log_e": 0.0}
    each = np.zeros(len(SLOPE_TILTS) + 2 * len(SHIFT_TILTS))
    for pattern in range(2 ** len(q)):
        y = np.array([pattern >> k & 1 for k in range(len(q))], dtype=float)
        chance = float(np.prod(np.where(y == 1, scores, 1 - scores)))
        evidence = excess_evidence(y, scores, ExcessReference())
        for name in total:
            total[name] += chance * math.exp(getattr(evidence, name))
        each += chance * np.exp(evidence.log_es)
    assert total == pytest.approx(dict.fromkeys(total, 1.0))
    assert each == pytest.approx(np.ones(each.size))


@pytest.mark.parametrize(
    ("change", "slope", "residual"),
    [
        ({"mix": 0.5}, False, False),  # other rows, right scores
        ({"shift": 0.7}, False, True),  # more positives, told apart as well
        ({"shift": -0.7}, False, True),  # fewer: less loss than promised, yet wrong
        ({"slope": 0.5, "shift": -0.5}, True, None),  # discrimination lost
        ({"slope": -1.0, "shift": -2.0}, True, None),  # turned around
    ],
)
def test_which_changes_each_e_value_sees(
    change: dict[str, float], slope: bool, residual: bool | None
) -> None:
    evidence = excess_evidence(*world(np.random.default_rng(2), 4000, **change), calm())
    assert (evidence.log_e_slope > math.log(365)) is slope
    assert residual is None or (evidence.log_e_residual > math.log(365)) is residual
    assert (evidence.log_e > math.log(365)) is (slope or bool(residual))


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_rows_does_not_matter(seed: int) -> None:
    y, q = world(np.random.default_rng(seed), 50)
    there = excess_evidence(y, q, ExcessReference())
    back = excess_evidence(y[::-1], q[::-1], ExcessReference())
    assert there.log_e == pytest.approx(back.log_e)


def test_no_rows_and_certain_halves_are_no_evidence_of_excess() -> None:
    assert excess_evidence([], [], ExcessReference()).log_e == pytest.approx(0.0)
    assert excess_evidence([1, 1], [0.5, 0.5], ExcessReference()).log_e_slope == 0.0


def test_variance_between_batches_and_a_short_reference_weaken_evidence() -> None:
    y, q = world(np.random.default_rng(3), 2000, shift=0.5)
    rng = np.random.default_rng(4)
    parts = [world(rng, 1000, shift=0.3 * rng.normal()) for _ in range(10)]
    restless = excess_reference(
        np.concatenate([y for y, _ in parts]),
        np.concatenate([q for _, q in parts]),
        np.repeat(np.arange(10), 1000),
    )
    assert restless.residual.between > calm().residual.between
    sure = excess_evidence(y, q, calm()).log_e
    assert excess_evidence(y, q, restless).log_e < sure
    assert excess_evidence(y, q, calm(n=500)).log_e < sure


def test_a_level_that_comes_and_goes_does_not_hide_a_lost_slope() -> None:
    rng = np.random.default_rng(5)
    parts = [world(rng, 1000, shift=0.4 * rng.normal()) for _ in range(20)]
    restless = excess_reference(
        np.concatenate([y for y, _ in parts]),
        np.concatenate([q for _, q in parts]),
        np.repeat(np.arange(20), 1000),
    )
    assert restless.slope.between < restless.excess.between / 4
    y, q = world(rng, 3000, slope=0.5, shift=-0.5)
    assert excess_evidence(y, q, restless).log_e_slope > math.log(365)


def test_a_batch_of_many_rows_bets_no_more_than_it_needs() -> None:
    """Half the bet is lost for sure where nothing changed; it used to grow with the rows."""
    y, q = world(np.random.default_rng(6), 200_000)
    assert min(excess_evidence(y, q, ExcessReference()).log_es) > -(3.0**2) / 2 - 3.0 * 5


@pytest.mark.parametrize("between", [0.0, 1e-4])
def test_tilts_say_how_evidence_varies_while_the_scores_are_right(between: float) -> None:
    rng = np.random.default_rng(7)
    q = world(rng, 400)[1]
    usual = RandomEffects(between=between)
    reference = ExcessReference(excess=usual, residual=usual, slope=usual)
    moves = rng.normal(0, math.sqrt(between), 600)  # of the level
    drawn = [excess_evidence(rng.random(400) < np.clip(q + m, 0, 1), q, reference) for m in moves]
    logs, tilts = np.array([d.log_es for d in drawn]), np.array(drawn[0].tilts)
    sizes = np.hypot(*tilts.T)
    level = tilts[:, 0] != 0  # of the slope the moves are not those that the reference tells of
    varied = logs.std(axis=0)
    np.testing.assert_allclose(varied[level], sizes[level], rtol=0.12)
    means = logs.mean(axis=0) + sizes**2 / 2
    assert np.all(np.abs(means[level]) <= 4 * sizes[level] / math.sqrt(len(drawn)))
    # The same direction goes together, the opposite apart, level and slope neither.
    seen = np.corrcoef(logs.T)
    np.testing.assert_allclose(seen, tilts @ tilts.T / np.outer(sizes, sizes), atol=0.15)


def test_nothing_is_said_of_the_law_of_a_few_rare_labels() -> None:
    rng = np.random.default_rng(8)
    for n, known in ((100, False), (2000, True)):
        q = np.full(n, 0.02) + rng.uniform(-0.01, 0.01, n)
        tilts = excess_evidence(rng.random(n) < q, q, ExcessReference()).tilts
        assert any(tilt != (0.0, 0.0) for tilt in tilts) is known


def test_a_reference_needs_rows() -> None:
    with pytest.raises(DataError, match="one variance"):
        excess_reference([], [])


def false_alarms(seed: int, windows: int, restlessness: float, batches: int) -> int:
    """Alarms of a detector with average run length 365 on windows like the reference's."""
    rng = np.random.default_rng([seed, batches])
    reference = [world(rng, 500, shift=restlessness * rng.normal()) for _ in range(batches)]
    normal = excess_reference(
        np.concatenate([y for y, _ in reference]),
        np.concatenate([q for _, q in reference]),
        np.repeat(np.arange(batches), 500),
    )
    value, alarms = 0.0, 0
    for _ in range(windows):
        y, q = world(rng, 500, shift=restlessness * rng.normal())
        value = next_shiryaev_roberts(value, excess_evidence(y, q, normal).log_e)
        if value >= alarm_limit(365):
            value, alarms = 0.0, alarms + 1
    return alarms


@pytest.mark.parametrize("restlessness", [0.0, 0.1])
def test_a_quiet_stream_keeps_the_budget_of_false_alarms(restlessness: float) -> None:
    # Ten streams of 100 days at one false alarm a year: 2.7 expected at most.
    assert sum(false_alarms(seed, 100, restlessness, batches=10) for seed in range(10)) <= 5


@pytest.mark.slow
@pytest.mark.parametrize("restlessness", [0.0, 0.1, 0.2])
def test_forty_quiet_years_keep_the_budget_of_false_alarms(restlessness: float) -> None:
    # 40 expected at most; alarms on one reference come in clusters, so the limit is wide.
    assert sum(false_alarms(seed, 365, restlessness, batches=12) for seed in range(40)) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("mix", [-1.0, -3.0, 1.5])
def test_raised_evidence_keeps_the_promise_and_no_more_than_it(mix: float) -> None:
    """A false alarm in 50 windows of 80 rows, of which a third, a tenth or most are positive."""
    rng = np.random.default_rng(9)
    lengths, runs = [], 60
    for _ in range(runs):
        parts, k = np.zeros(len(SLOPE_TILTS) + 2 * len(SHIFT_TILTS)), 0
        while np.mean(np.exp(parts)) < 1 + 50:
            found = excess_evidence(*world(rng, 80, mix=mix), ExcessReference())
            parts = np.logaddexp(0, parts + found.log_es + log_boosts(parts, found.tilts, 50))
            k += 1
        lengths.append(k)
    # Run lengths are about exponential.
    assert 50 * (1 - 3 / math.sqrt(runs)) <= np.mean(lengths) <= 65 * (1 + 3 / math.sqrt(runs))
