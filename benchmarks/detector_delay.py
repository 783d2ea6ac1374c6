"""How soon the e-detectors find a change, against the best CUSUM that knows what will change.

python -m benchmarks.detector_delay [RUNS]

The CUSUM adds up the true log-likelihood ratio of the law after the change to that before; nothing
can be sooner in the worst case with the same average run length (Moustakides 1986, Annals of
Statistics 14). Its limit is set by simulation, once to the run length that ours promises and once
to the one that ours turned out to have. Ours know neither law. The change comes after a calm
stretch of a quarter of the promise, in the runs without an alarm so far; the last column is for a
change that is there from the first row on.

The sizes of :func:`shift_sizes` follow from the normal law, none of these worlds. The tilts of the
monitor for the level, and the boldest of all, were chosen on changes of other sizes; those for the
slope are evenly spaced, and their number was chosen on these changes and on others.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable

import msgspec
import numpy as np
import numpy.typing as npt
from benchmarks.detectors import (
    CALM,
    Change,
    Known,
    Q,
    assert_agreement,
    draw,
    label_rate,
    log_es,
    next_parts,
    offset,
    relation,
)
from scipy.special import betaln

from gyroscope.stats.e_detector import alarm_limit, shift_sizes, shiryaev_roberts
from gyroscope.stats.e_values import BOLDEST

Array = npt.NDArray[np.float64]

RUNS = 400  # of the run length; of delays four times as many
HORIZON = 4  # promises after which a run is ended; time by alarms is then the mean of a long run
LIMITS = 40  # at which the CUSUM is measured
# Windows that are drawn once, and from which streams are drawn. Run lengths hang on the rare ones
# that bold bets win, so that of calm ones there must be about as many as streams use.
CALM_POOL = 400_000
POOL = 20_000  # after a change
ROWS = (40, 100, 500)  # labelled rows a window
WINDOWS = 365  # the promise for the detector of the monitor
CHANGES = (
    *(offset(s) for s in (-0.45, -0.2, 0.2, 0.45)),
    *(label_rate(s) for s in (-0.2, 0.2)),
    *(relation(s) for s in (0.35, 0.75, 1.5)),
)

Draw = Callable[[int, bool], Array]  # so many observations, from before or after the change


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """A detector on many streams at once."""

    new: Callable[[int], Array]  # the state[streams, ...] of so many
    # From the state and observations[streams, ...] the next state, and the detector's log value.
    step: Callable[[Array, Array], tuple[Array, Array]]


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A law of observations, how it changes, and what may be promised there."""

    name: str
    promise: float  # average run length
    draw: Draw
    ratio: Callable[[Array], Array]  # the log-likelihood ratio of observations
    ours: Watch


# -- detectors --------------------------------------------------------------------------------


def mean_of(parts: Array) -> Array:
    """The logarithm of the mean of exp(parts[streams, m])."""
    top = parts.max(axis=1)
    found: Array = top + np.log(np.exp(parts - top[:, None]).mean(axis=1))
    return found


def bounded(null_mean: float, promise: float) -> Watch:
    """What :func:`shiryaev_roberts` does, with lowest 0; the state is parts, squares, rows."""
    sizes = np.array(shift_sizes(promise))

    def new(n: int) -> Array:
        return np.hstack([np.zeros((n, sizes.size)), np.ones((n, 2))])

    def step(state: Array, x: Array) -> tuple[Array, Array]:
        parts, squares, rows = np.split(state, [sizes.size, sizes.size + 1], axis=1)
        y = x[:, None] / null_mean - 1
        stakes = np.minimum(sizes / np.sqrt(squares / rows), BOLDEST)
        parts = np.logaddexp(0, parts + np.log1p(stakes * y))
        return np.hstack([parts, squares + y**2, rows + 1]), mean_of(parts)

    return Watch(new=new, step=step)


def mixture(kinds: int, promise: float) -> Watch:
    """The detector of the monitor, fed with what is known of a window, and a ratio last."""

    def step(state: Array, x: Array) -> tuple[Array, Array]:
        parts = next_parts(state, x[:, :-1].reshape(len(x), kinds, 3), promise)
        return parts, mean_of(parts)

    return Watch(new=lambda n: np.zeros((n, kinds)), step=step)


def best_cusum(ratio: Callable[[Array], Array]) -> Watch:
    """The CUSUM of the true log-likelihood ratio."""

    def step(state: Array, x: Array) -> tuple[Array, Array]:
        state = np.maximum(state, 0) + ratio(x)
        return state, state

    return Watch(new=np.zeros, step=step)


# -- worlds -----------------------------------------------------------------------------------


def coins(before: float, after: float, promise: float) -> World:
    """Losses of 0 or 1, of which more are 1 after the change."""

    up, down = math.log(after / before), math.log((1 - after) / (1 - before))
    rng = np.random.default_rng(1)

    def draw_coins(n: int, changed: bool) -> Array:
        return (rng.random(n) < (after if changed else before)).astype(float)

    return World(
        name=f"coins {before:g} to {after:g}",
        promise=promise,
        draw=draw_coins,
        ratio=lambda x: np.where(x > 0, up, down),
        ours=bounded(before, promise),
    )


def betas(before: float, after: float, size: float, promise: float) -> World:
    """Losses in [0, 1] with a beta law, of variance mean (1 - mean) / (size + 1)."""
    a, b = np.array([before, after]) * size, (1 - np.array([before, after])) * size
    constant = float(betaln(a[0], b[0]) - betaln(a[1], b[1]))
    rng = np.random.default_rng(2)

    def draw_betas(n: int, changed: bool) -> Array:
        return np.clip(rng.beta(a[int(changed)], b[int(changed)], n), 1e-12, 1 - 1e-12)

    return World(
        name=f"beta of {size:g}, {before:g} to {after:g}",
        promise=promise,
        draw=draw_betas,
        ratio=lambda x: constant + (a[1] - a[0]) * np.log(x) + (b[1] - b[0]) * np.log1p(-x),
        ours=bounded(before, promise),
    )


BOUNDED = (
    *(coins(0.1, 0.2, promise) for promise in (200, 500, 1000, 5000)),
    *(coins(0.1, after, 1000) for after in (0.15, 0.4)),
    coins(0.3, 0.5, 500),
    coins(0.3, 0.36, 5000),
    coins(0.5, 0.7, 200),
    *(coins(0.02, 0.05, promise) for promise in (1000, 5000)),
    *(betas(0.3, 0.4, 2, promise) for promise in (200, 5000)),
    *(betas(0.1, after, 5, 1000) for after in (0.12, 0.2)),
    betas(0.3, 0.35, 10, 1000),
    betas(0.2, 0.25, 50, 500),
    betas(0.5, 0.6, 30, 1000),
)


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows and positives of many windows, and what our detector is fed with."""

    counts: npt.NDArray[np.uint16]  # by cell, [windows, cells]
    positives: npt.NDArray[np.uint16]
    known: Array  # log e-values and their tilts, float64[windows, 3 kinds]


def windows(rng: np.random.Generator, law: Change, rows: int, n: int) -> Windows:
    """Draw n windows, block by block."""
    blocks = []
    for start in range(0, n, POOL):
        counts, positives = draw(rng, law, rows, min(POOL, n - start))
        known = log_es(counts, positives, Known()).reshape(len(counts), -1)
        blocks.append((counts.astype(np.uint16), positives.astype(np.uint16), known))
    return Windows(
        counts=np.concatenate([counts for counts, _, _ in blocks]),
        positives=np.concatenate([positives for _, positives, _ in blocks]),
        known=np.concatenate([known for _, _, known in blocks]),
    )


@functools.lru_cache(maxsize=1)
def calm_windows(rows: int) -> Windows:
    """Those that all worlds with so many rows share."""
    return windows(np.random.default_rng(rows), CALM, rows, CALM_POOL)


def monitored(change: Change, rows: int) -> World:
    """Windows of labelled rows: our log e-values, and last the log-likelihood ratio."""
    rng = np.random.default_rng([rows, [c.name for c in CHANGES].index(change.name)])
    up, down = np.log(change.chance / Q), np.log((1 - change.chance) / (1 - Q))

    def judged(of: Windows) -> Array:
        ratio = of.positives @ up + (of.counts - of.positives) @ down
        return np.column_stack([of.known, ratio])

    pools = [judged(of) for of in (calm_windows(rows), windows(rng, change, rows, POOL))]

    def draw_windows(n: int, changed: bool) -> Array:
        pool = pools[int(changed)]
        return pool[rng.integers(0, len(pool), n)]

    return World(
        name=f"{change.name}, {rows} rows",
        promise=WINDOWS,
        draw=draw_windows,
        ratio=lambda x: x[:, -1],
        ours=mixture(pools[0].shape[1] // 3, WINDOWS),
    )


def assert_agreement_on_streams() -> None:
    """What is measured here on bounded observations is what the package does."""
    x = np.random.default_rng(0).beta(1, 9, (5, 300))
    watch = bounded(0.09, 1000)
    state, path = watch.new(len(x)), np.zeros(x.shape)
    for k in range(x.shape[1]):
        state, path[:, k] = watch.step(state, x[:, k])
    for row, fast in zip(x, path, strict=True):
        slow = shiryaev_roberts(row, null_mean=0.09, lowest=0.0, average_run_length=1000)
        np.testing.assert_allclose(fast, slow.path, atol=1e-9)


# -- measuring --------------------------------------------------------------------------------


def crossings(
    watch: Watch, draw: Draw, limits: Array, runs: int, *, change: float, horizon: int
) -> Array:
    """Steps to the first crossing of each limit, float64[limits, runs]; inf: not by the horizon."""
    times = np.full((limits.size, runs), np.inf)
    alive, state = np.arange(runs), watch.new(runs)
    for step in range(1, horizon + 1):
        state, value = watch.step(state, draw(alive.size, step > change))
        now = (value >= limits[:, None]) & np.isinf(times[:, alive])
        times[:, alive] = np.where(now, step, times[:, alive])
        if now[-1].any():  # the highest limit: all others were crossed before
            going = np.isinf(times[-1, alive])
            alive, state = alive[going], state[going]
        if not alive.size:
            break
    return times


def run_length(watch: Watch, world: World, limits: Array, runs: int) -> Array:
    """Steps to a false alarm at each limit: all time by all alarms."""
    horizon = math.ceil(HORIZON * world.promise)
    times = crossings(watch, world.draw, limits, runs, change=math.inf, horizon=horizon)
    alarms = np.isfinite(times).sum(axis=1)
    found: Array = np.minimum(times, horizon).sum(axis=1) / np.maximum(alarms, 1)
    return found


def delay(watch: Watch, world: World, limits: Array, runs: int, *, change: int) -> Array:
    """Mean steps from the change to the alarm at each limit, of runs without an alarm before."""
    horizon = change + math.ceil(10 * world.promise)
    times = crossings(watch, world.draw, limits, 4 * runs, change=change, horizon=horizon)
    times = np.minimum(times, horizon)
    return np.array([(of[of > change] - change).mean() for of in times])


def print_world(world: World, runs: int) -> None:
    """One line of a table."""
    cusum, ours = best_cusum(world.ratio), world.ours
    limits = np.linspace(-1, math.log(world.promise) + 0.5, LIMITS)
    limit, quarter = np.array([alarm_limit(world.promise)]), int(world.promise / 4)
    log_lengths = np.log(run_length(cusum, world, limits, runs))
    length = run_length(ours, world, limit, runs)[0]
    line = f"{world.name:28}{world.promise:7.0f}{length:7.0f}"
    for change in (quarter, 0):
        mine = delay(ours, world, limit, runs, change=change)[0]
        goals = np.log([world.promise, length] if change else [world.promise])
        theirs = [
            delay(cusum, world, np.array([at]), runs, change=change)[0]
            for at in np.interp(goals, log_lengths, limits)
        ]
        line += f"{mine:8.1f}" + "".join(f"{best:8.1f}{mine / best:6.2f}" for best in theirs)
    print(line, flush=True)


def main() -> None:
    """Print the tables."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    assert_agreement(np.random.default_rng(0))
    assert_agreement_on_streams()
    print(f"{'':42}{'after a calm stretch':>36}{'from the start':>22}")
    print(f"{'':28}{'':7}{'run':>7}{'':8}{'CUSUM at':>14}{'CUSUM at':>14}{'CUSUM at':>22}")
    print(
        f"{'':28}{'promise':>7}{'length':>7}{'ours':>8}{'promise':>8}{'ratio':>6}"
        f"{'length':>8}{'ratio':>6}{'ours':>8}{'promise':>8}{'ratio':>6}\n"
    )
    for world in BOUNDED:
        print_world(world, runs)
    print()
    for rows in ROWS:
        for change in CHANGES:
            print_world(monitored(change, rows), runs)


if __name__ == "__main__":
    main()
