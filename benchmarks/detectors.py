"""The detector of lost performance: its false alarms against the promise, and other detectors.

python benchmarks/detectors.py [RUNS]

Scores lie on 64 quantiles of a normal distribution of log-odds (mean -1, standard deviation 1.2),
so that a window is 64 counts of rows and of positives, and thousands of windows are judged at once.
That this agrees with the package's own functions is asserted first. The reference is known, not
learned, but for the last table. River's detectors are fed row by row, with its defaults; they need
the extra ``detectors``. How soon ours fires is in ``detector_delay.py``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from gyroscope.errors import MissingExtraError
from gyroscope.monitor.comparisons import COMPARISONS, first_alarm
from gyroscope.stats.e_detector import alarm_limit, log_boosts
from gyroscope.stats.excess_loss import (
    BOLDEST,
    SHIFT_TILTS,
    SKEWEST,
    SLOPE_TILTS,
    ExcessReference,
    excess_evidence,
    excess_reference,
)
from gyroscope.stats.intervals import normal_quantile
from gyroscope.stats.random_effects import RandomEffects
from gyroscope.stats.ranking import (
    FEWEST_OF_A_CLASS,
    TILTS,
    ranking_evidence,
    ranking_reference,
)

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

CELLS = 64
PROMISES = (365, 1000)  # windows
SIZES = (50, 200, 500, 2000)  # labelled rows a window
RESTLESS = 0.1  # standard deviation of the level between windows, log-odds
RUNS = 400
HORIZON = 6  # promises after which a run is ended; time by alarms is then the mean of a long run
COLUMN = 0.9  # coefficient of the column, of unit variance, whose relation changes
LOG_ODDS = -1 + 1.2 * np.array([normal_quantile((k + 0.5) / CELLS) for k in range(CELLS)])
Q = 1 / (1 + np.exp(-LOG_ODDS))


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What windows are while all is well."""

    excess: ExcessReference = ExcessReference()
    ranking: RandomEffects = RandomEffects()


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The law of rows after a change."""

    name: str
    chance: Array  # of a positive, given the cell
    mix: Array  # of the cells


def sigmoid(x: Array) -> Array:
    """The chance that belongs to log-odds."""
    return 1 / (1 + np.exp(-x))


# -- the worlds -------------------------------------------------------------------------------

CALM = Change(name="none", chance=Q, mix=np.full(CELLS, 1 / CELLS))


def offset(shift: float) -> Change:
    """The scores are off by a constant log-odds; the mix of rows stays."""
    return Change(name=f"offset {shift:+.2f}", chance=sigmoid(LOG_ODDS + shift), mix=CALM.mix)


def label_rate(shift: float) -> Change:
    """More or fewer positives, each class looking as before; the mix of scores follows."""
    mix = Q * math.exp(shift) + 1 - Q
    return Change(
        name=f"label rate {shift:+.2f}", chance=sigmoid(LOG_ODDS + shift), mix=mix / mix.sum()
    )


def relation(lost: float) -> Change:
    """A column loses this share of its coefficient (2: its sign is turned); seen by the scores."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    variance = 1.2**2
    column = COLUMN * (LOG_ODDS[:, None] + 1) / variance
    column = column + math.sqrt(1 - COLUMN**2 / variance) * nodes
    chance = sigmoid(LOG_ODDS[:, None] - lost * COLUMN * column) @ (weights / weights.sum())
    return Change(name=f"coefficient -{lost:.0%}", chance=chance, mix=CALM.mix)


CHANGES = (
    *(offset(s) for s in (-0.6, -0.3, -0.15, 0.15, 0.3, 0.6)),
    *(label_rate(s) for s in (-0.3, 0.3)),
    *(relation(s) for s in (0.25, 0.5, 1.0, 2.0)),
)


def draw(
    rng: np.random.Generator, change: Change, rows: int, windows: int, restless: float = 0.0
) -> tuple[Counts, Counts]:
    """Rows and positives of each cell, int64[windows, cells]."""
    counts = rng.multinomial(rows, change.mix, size=windows)
    chance = np.broadcast_to(change.chance, counts.shape)
    if restless:
        level = restless * rng.standard_normal((windows, 1))
        chance = sigmoid(np.log(chance / (1 - chance)) + level)
    return counts, rng.binomial(counts, chance)


def known(rows: int, restless: float) -> Known:
    """Mean and variance between windows as they are, by quadrature.

    The means are not 0 though the level is right on average: what comes and goes in log-odds moves
    chances below 1/2 up more than down, the lower the more.
    """
    if not restless:
        return Known()
    counts = np.full((1, CELLS), rows / CELLS)
    nodes, weights = np.polynomial.hermite_e.hermegauss(31)
    weights = weights / weights.sum()
    p = sigmoid(LOG_ODDS + restless * nodes[:, None])

    def over_windows(values: Array) -> RandomEffects:
        mean = float(weights @ values)
        return RandomEffects(mean=mean, between=float(weights @ (values - mean) ** 2))

    centred = Q * (1 - Q) @ LOG_ODDS / (Q * (1 - Q)).sum() - LOG_ODDS
    excess, residual, slope = (
        over_windows((p - Q) @ w / CELLS) for w in (-LOG_ODDS, np.ones(CELLS), centred)
    )
    _, promised, _, _ = ranks(counts, counts * Q)
    return Known(
        excess=ExcessReference(excess=excess, residual=residual, slope=slope),
        ranking=over_windows(promised - ranks(counts, counts * p)[0]),
    )


# -- our evidence, for many windows at once ---------------------------------------------------


def ranks(counts: Array, positives: Array) -> tuple[Array, Array, Array, Array]:
    """Of each window the realised AUC, the promised one, its slope by cell and standard error."""
    negatives = counts - positives
    below = np.cumsum(negatives, axis=1) - negatives / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        realised = (positives * below).sum(1) / (positives.sum(1) * negatives.sum(1))
    up, down = counts * Q, counts * (1 - Q)
    all_up, all_down = up.sum(1, keepdims=True), down.sum(1, keepdims=True)
    below = np.cumsum(down, axis=1) - (down + 1 - Q) / 2
    above = all_up - np.cumsum(up, axis=1) + (up - Q) / 2
    pairs = all_up * all_down - (up * (1 - Q)).sum(1, keepdims=True)
    promised = (up * below).sum(1, keepdims=True) / pairs
    slope = (below - above - promised * ((all_down - 1 + Q) - (all_up - Q))) / pairs
    error = np.sqrt((counts * Q * (1 - Q) * slope**2).sum(1))
    return realised, promised[:, 0], slope, error


def log_es(counts: Counts, positives: Counts, normal: Known) -> Array:
    """The e-values of each window, and the two tilts of each; see monitor.performance.

    float64[windows, kinds of change, 3].
    """
    rows = counts.sum(1)
    found, tilts_of, axes = [], [], []
    skewness = np.zeros(rows.size)
    spread = Q * (1 - Q)
    centre = (counts @ (spread * LOG_ODDS) / (counts @ spread))[:, None]
    residual = normal.excess.residual
    fewer = msgspec.structs.replace(residual, mean=-residual.mean)
    ones = np.ones(counts.shape)
    for weight, tilts, usual, axis in (
        (centre - LOG_ODDS, SLOPE_TILTS, normal.excess.slope, (0, 1)),
        (ones, SHIFT_TILTS, residual, (1, 0)),
        (-ones, SHIFT_TILTS, fewer, (-1, 0)),
    ):
        variance = (counts * spread * weight**2).sum(1)
        effect = 1 + rows**2 * usual.between / variance
        skewness = np.maximum(skewness, skewed(counts, weight))
        axes.append(weight / np.sqrt(variance * effect)[:, None])
        total = ((positives - counts * Q) * weight).sum(1) - rows * margin(usual)
        for tilt in tilts:
            held = np.minimum(tilt, BOLDEST * np.sqrt(effect / variance))
            tilted = held[:, None] * weight
            up, down = tilted * (1 - Q), -tilted * Q
            cumulant = np.logaddexp(np.log(Q) + up, np.log1p(-Q) + down)
            found.append((held * total - (counts * cumulant).sum(1)) / effect)
            tilts_of.append(np.outer(held * np.sqrt(variance / effect), axis))
    realised, promised, slope, error = ranks(counts.astype(float), positives.astype(float))
    rarer = np.minimum(positives.sum(1), rows - positives.sum(1))
    error = np.maximum(error, 1e-9)  # where it is 0 nothing is staked
    effect = 1 + normal.ranking.between / error**2
    enough = chance_of_enough(counts)
    skewness_of_ranks = skewed(counts, slope)
    for k in TILTS:
        stakes = k * np.sqrt(effect) / error
        tilted = -stakes[:, None] * slope
        cumulant = (counts * (np.log1p(Q * np.expm1(tilted)) - Q * tilted)).sum(1)
        of_ranks = (stakes * (promised - realised - margin(normal.ranking)) - cumulant) / effect
        found.append(np.where(rarer < FEWEST_OF_A_CLASS, 0.0, of_ranks))
        hangs = [(counts * spread * axes[a] * tilted).sum(1) * enough / effect for a in (1, 0)]
        normal_law = skewness_of_ranks <= SKEWEST
        tilts_of.append(np.where(normal_law[:, None], np.stack(hangs, axis=1), 0.0))
    tilts_of = [np.where((skewness <= SKEWEST)[:, None], tilt, 0.0) for tilt in tilts_of]
    return np.concatenate([np.stack(found, axis=1)[..., None], np.stack(tilts_of, axis=1)], axis=2)


def skewed(counts: Counts, weight: Array) -> Array:
    """The skewness, without its sign, of the sum of weight (y - q) of each window."""
    spread = counts * Q * (1 - Q)
    variance = (spread * weight**2).sum(1)
    found: Array = np.abs((spread * (1 - 2 * Q) * weight**3).sum(1)) / variance**1.5
    return found


def chance_of_enough(counts: Counts) -> Array:
    """That each window has enough positives and negatives for its ranks to count."""
    rows, positives, error = counts.sum(1), counts @ Q, np.sqrt(counts @ (Q * (1 - Q)))
    fewest = FEWEST_OF_A_CLASS - 0.5
    few = [ndtr((fewest - expected) / error) for expected in (positives, rows - positives)]
    found: Array = np.maximum(1 - few[0] - few[1], 0.0) * (rows >= 2 * FEWEST_OF_A_CLASS)
    return found


def margin(usual: RandomEffects) -> float:
    """What the package takes for normal of a mean that was learned."""
    return usual.mean + normal_quantile(0.95) * usual.standard_error


def as_rows(counts: Counts, positives: Counts) -> tuple[Array, Array]:
    """Labels and scores of windows, row by row, in the order of the windows, mixed within each."""
    mixer = np.random.default_rng(0)
    labels, scores = [], []
    for n, k in zip(counts, positives, strict=True):
        cell = np.repeat(np.arange(CELLS), n)
        first = np.concatenate([np.arange(m) for m in n]) if n.sum() else np.empty(0)
        order = mixer.permutation(cell.size)
        labels.append((first < k[cell])[order].astype(float))
        scores.append(Q[cell[order]])
    return np.concatenate(labels), np.concatenate(scores)


def assert_agreement(rng: np.random.Generator) -> None:
    """What is measured here is what the package does."""
    normal = known(200, RESTLESS)
    counts, positives = draw(rng, CALM, 200, 20, RESTLESS)
    for k, fast in enumerate(log_es(counts, positives, normal)):
        y, q = as_rows(counts[k : k + 1], positives[k : k + 1])
        slow = excess_evidence(y, q, normal.excess)
        of_ranks = ranking_evidence(y, q, normal.ranking, normal.excess)
        np.testing.assert_allclose(fast[:, 0], (*slow.log_es, *of_ranks.log_es), atol=1e-6)
        np.testing.assert_allclose(fast[:, 1:], (*slow.tilts, *of_ranks.tilts), atol=1e-6)


# -- run lengths ------------------------------------------------------------------------------

Evidence = Callable[[int], Array]  # of so many new windows, as from log_es


def next_parts(parts: Array, evidence: Array, promise: float) -> Array:
    """What :func:`gyroscope.monitor.performance.update_detector` does to parts[streams, kinds]."""
    boosts = log_boosts(parts, evidence[..., 1:], promise)
    return np.asarray(np.logaddexp(0, parts + evidence[..., 0] + boosts[:, None]))


def run_lengths(
    evidence: Evidence, promise: float, runs: int, horizon: int, *, cusum: bool = False
) -> Array:
    """Windows to the first false alarm, float64[runs]; inf: none by the horizon.

    Runs go in step; those that have alarmed are dropped.
    """
    times = np.full(runs, np.inf)
    limit = math.log(promise) if cusum else alarm_limit(promise)
    alive, parts, step = np.arange(runs), None, 0
    while alive.size and step < horizon:
        block = max(1, min(64, 40_000 // alive.size, horizon - step))
        drawn = evidence(alive.size * block)
        fresh = drawn.reshape(block, alive.size, *drawn.shape[1:])
        parts = np.zeros(fresh.shape[1:3]) if parts is None else parts
        for of_window in fresh:
            step += 1
            if cusum:
                parts = np.maximum(parts, 0) + of_window[..., 0]
            else:
                parts = next_parts(parts, of_window, promise)
            value = np.log(np.exp(parts - parts.max(1, keepdims=True)).mean(1)) + parts.max(1)
            now = (value >= limit) & np.isinf(times[alive])
            times[alive] = np.where(now, step, times[alive])
        going = np.isinf(times[alive])
        alive, parts = alive[going], parts[going]
    return times


def mean_length(times: Array, horizon: int) -> tuple[float, float]:
    """Time by alarms, the mean of run lengths that are about exponential, and its relative error.

    Without any alarm infinite.
    """
    alarms = int(np.isfinite(times).sum())
    total = float(np.minimum(times, horizon).sum())
    return (total / alarms, 1 / math.sqrt(alarms)) if alarms else (math.inf, math.inf)


def ours(rng: np.random.Generator, change: Change, rows: int, restless: float) -> Evidence:
    """Our e-values on a stream without end, with the reference known."""
    return judged(rng, change, rows, restless, known(rows, restless))


def judged(
    rng: np.random.Generator, change: Change, rows: int, restless: float, normal: Known
) -> Evidence:
    """Our e-values on a stream without end, with any reference."""
    return lambda n: log_es(*draw(rng, change, rows, n, restless), normal)


def single(evidence: Evidence) -> Evidence:
    """The e-values of each window averaged, as the detector of CUSUM type takes them."""
    return lambda n: np.log(np.exp(np.minimum(evidence(n)[:, :, :1], 600)).mean(1, keepdims=True))


# -- tables -----------------------------------------------------------------------------------


def print_run_lengths(rng: np.random.Generator, runs: int) -> None:
    """Table (a)."""
    print("Average run length of a calm world, windows (relative standard error)\n")
    header = "".join(f"{f'promise {promise}':>18}" for promise in PROMISES)
    print(f"{'':36}{header}")
    for restless in (0.0, RESTLESS):
        for rows in SIZES:
            evidence = ours(rng, CALM, rows, restless)
            for kind in ("Shiryaev-Roberts", "CUSUM"):
                cusum = kind == "CUSUM"
                fed, count = (single(evidence), min(runs, 100)) if cusum else (evidence, runs)
                cells = ""
                for promise in PROMISES:
                    horizon = (2 if cusum else HORIZON) * promise
                    times = run_lengths(fed, promise, count, horizon, cusum=cusum)
                    cells += _length(times, horizon)
                print(f"{kind:18}{rows:5} rows, level {restless:4.1f}{cells}", flush=True)


def _length(times: Array, horizon: int) -> str:
    mean, error = mean_length(times, horizon)
    if math.isinf(mean):
        return f"{f'> {times.size * horizon / 3:,.0f}':>18}"  # the rule of three
    return f"{f'{mean:,.0f} ({error:.0%})':>18}"


def print_comparisons(rng: np.random.Generator) -> None:
    """River's detectors on rows: false alarms a year of calm days, and delay after a change."""
    rows, before, after, streams = 200, 30, 60, 20
    try:
        first_alarm("adwin", [0.0])
    except MissingExtraError as error:
        print(f"\n{error}")
        return
    print(f"\nRiver's defaults, {rows} rows a window, change after {before} of {before + after}")
    print("windows, loss (y - q)^2, for ddm (y != (q >= 1/2)): streams alarmed before the change,")
    print("and mean delay in windows of those that were not (and found it)\n")
    names = "".join(f"{name:>22}" for name in COMPARISONS)
    print(f"{'':26}{names}")
    for change in (CALM, *CHANGES):
        alarms: dict[str, list[float]] = {name: [] for name in COMPARISONS}
        for _ in range(streams):
            parts = [draw(rng, CALM, rows, before), draw(rng, change, rows, after)]
            y, q = as_rows(*(np.concatenate([part[k] for part in parts]) for k in (0, 1)))
            for name, kept in alarms.items():
                fed = (y != (q >= 0.5)).astype(float) if name == "ddm" else (y - q) ** 2
                found = first_alarm(name, fed)
                kept.append(math.inf if found is None else (found + 1) / rows - before)
        print(f"{change.name:26}{''.join(_told(kept) for kept in alarms.values())}", flush=True)


def _told(delays: list[float]) -> str:
    early = sum(delay <= 0 for delay in delays)
    right = [delay for delay in delays if 0 < delay < math.inf]
    mean = f"{np.mean(right):.1f}" if right else "-"
    return f"{f'{early} early, {mean} ({len(right)})':>22}"


def print_learned(rng: np.random.Generator) -> None:
    """What it costs that the reference is learned from a few windows."""
    promise, rows, references = PROMISES[0], 200, 40
    horizon = 2 * promise
    print(
        f"\nReference learned from 12 windows of {rows} rows: the mean of {references} references"
    )
    for change in (CALM, offset(0.3), offset(0.6), relation(0.5), relation(1.0)):
        times = []
        for _ in range(references):
            counts, positives = draw(rng, CALM, rows, 12)
            y, q = as_rows(counts, positives)
            ranking = ranking_reference(y, q, np.repeat(np.arange(12), rows))
            assert ranking is not None
            normal = Known(
                excess=excess_reference(y, q, np.repeat(np.arange(12), rows)), ranking=ranking
            )
            fed = judged(rng, change, rows, 0.0, normal)
            times.append(run_lengths(fed, promise, 10, horizon))
        mean, _ = mean_length(np.concatenate(times), horizon)
        print(f"{change.name:26}{mean:10.1f} windows to an alarm", flush=True)


def main() -> None:
    """Print the tables."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    rng = np.random.default_rng(0)
    assert_agreement(rng)
    print_run_lengths(rng, runs)
    print_comparisons(rng)
    print_learned(rng)


if __name__ == "__main__":
    main()
