"""The false-alarm budget of the checks of columns, in simulated model-years.

python -m benchmarks.budget [--years N] [--seed N] [--worlds WORD]

A model-year is a reference, which is itself a sample, and a year of windows of the same population,
judged as the pilot does: findings of drift, quality and scores at the error rates of the budget.
Every world has columns of all kinds (``KINDS``), made of latent normals that also carry what rows
of one batch have in common, so that seasons and levels reach numbers, shares and missing values
alike. Rows are counted by the kernel, a whole year of a column at once.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import ColumnSpec, cells_of
from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.joint import joint_of_cells
from gyroscope.data.profile import (
    ColumnProfile,
    Profile,
    category_profile,
    encoded_profile,
    profile,
)
from gyroscope.data.profile_spec import profile_spec, score_spec
from gyroscope.findings import Finding, Verdict, Window
from gyroscope.monitor.budget import SHARES, YEAR, Budget
from gyroscope.monitor.changes import DriftRules
from gyroscope.monitor.drift import drift_findings_by_window, score_drift_findings_by_window
from gyroscope.monitor.quality import quality_findings

Floats = NDArray[np.float64]
Rng = np.random.Generator

FAMILIES = ("columns", "data quality", "scores")
ALLOWED = sum(SHARES[family][0] for family in FAMILIES)  # a year, of a budget of one alarm
MIN_ROWS = 100
LISTED = 1000  # categories of a column, the most frequent ones of the reference
START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS_A_BLOCK = 2_000_000  # of one column in memory at once


class World(msgspec.Struct, frozen=True, kw_only=True):
    """How rows come, when nothing changes."""

    name: str
    columns: int
    rows: int  # of a window, which is one batch
    reference: int  # rows
    windows: int = 365  # a year
    level: float = 0.0  # sd of the level of a batch, each column by itself, over that of rows
    some: float = 1.0  # share of the columns that have levels of their own
    shared: float = 0.0  # sd of a level that all columns have in common
    ar: float = 0.0  # correlation of neighbouring rows
    week: float = 0.0  # amplitude of the days of the week
    walk: float = 0.0  # amplitude of a slow walk, within what the reference has been through
    shuffled: bool = False  # the rows of the reference stand in random order
    weight: float = 1.0  # of the model-years spent here


WORLDS = (
    World(name="independent rows", columns=20, rows=1000, reference=10_000),
    World(name="independent rows", columns=5, rows=100, reference=2_000, weight=2),
    World(name="independent rows", columns=20, rows=150, reference=100_000, weight=2),
    World(name="independent rows", columns=20, rows=2000, reference=2_000),
    World(
        name="independent rows, weekly", columns=20, rows=20_000, reference=100_000, windows=52
    ),
    World(name="independent rows, weekly", columns=200, rows=300, reference=10_000, windows=52),
    World(name="independent rows, shuffled", columns=20, rows=500, reference=10_000, shuffled=True),
    World(name="AR(1) rows, 0.9", columns=20, rows=1000, reference=20_000, ar=0.9),
    World(name="AR(1) rows, 0.5", columns=20, rows=300, reference=10_000, ar=0.5),
    World(name="AR(1) rows, 0.99", columns=5, rows=2000, reference=100_000, ar=0.99),
    World(name="levels of 0.3", columns=20, rows=500, reference=20_000, level=0.3),
    World(name="levels of 0.1", columns=20, rows=500, reference=20_000, level=0.1),
    World(name="levels of 0.05", columns=20, rows=1000, reference=50_000, level=0.05),
    World(name="levels of 0.3", columns=5, rows=100, reference=5_000, level=0.3, weight=2),
    World(
        name="levels of 0.3, weekly",
        columns=200, rows=300, reference=20_000, level=0.3, windows=52,
    ),
    World(
        name="levels of 0.1 in a tenth", columns=20, rows=500, reference=20_000, level=0.1, some=0.1
    ),
    World(
        name="levels of 0.3 in a tenth", columns=20, rows=500, reference=20_000, level=0.3, some=0.1
    ),
    World(name="shared levels of 0.2", columns=20, rows=500, reference=20_000, shared=0.2),
    World(
        name="levels of 0.2, 10 batches", columns=20, rows=1000, reference=10_000, level=0.2
    ),
    World(
        name="levels of 0.2, weekly",
        columns=20, rows=10_000, reference=100_000, level=0.2, windows=52,
    ),
    World(name="days of the week", columns=20, rows=300, reference=30_000, week=0.3),
    World(name="days of the week, many", columns=20, rows=100, reference=44_800, week=0.4),
    World(name="slow walk", columns=20, rows=500, reference=20_000, walk=0.5),
    World(name="slow walk and levels", columns=20, rows=300, reference=30_000, walk=0.5, level=0.2),
    World(
        name="all of it",
        columns=20, rows=500, reference=50_000, level=0.2, shared=0.1, ar=0.5, week=0.2, walk=0.3,
    ),
)  # fmt: skip


# -- columns of every kind ------------------------------------------------------------------------


class Kind(msgspec.Struct, frozen=True):
    """How a column is made of latent normals."""

    type: ColumnType
    values: Callable[[Floats], Floats]
    missing: float = 0.0


def zipf(levels: int) -> Callable[[Floats], Floats]:
    """Categories by their rank, by a table of the normal distribution function."""
    from scipy.special import ndtr

    shares = 1 / np.arange(1, levels + 1)
    grid = np.linspace(-6, 6, 1 << 17)
    table = np.searchsorted(np.cumsum(shares / shares.sum()), ndtr(grid)).clip(0, levels - 1)
    scale = (grid.size - 1) / 12

    def ranks(z: Floats) -> Floats:
        return np.asarray(table[((z + 6) * scale).clip(0, grid.size - 1).astype(np.int64)])

    return ranks


def _student_2(z: Floats) -> Floats:
    from scipy.special import ndtr

    u = np.clip(ndtr(z.astype(np.float64)), 1e-12, 1 - 1e-12)
    return np.asarray((2 * u - 1) / np.sqrt(2 * u * (1 - u)))


def _even(z: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(1e9 + np.floor(ndtr(z) * 20_000) * 86_400)


_N, _C, _B = ColumnType.NUMBER, ColumnType.CATEGORY, ColumnType.BOOLEAN
KINDS = (
    Kind(_N, lambda z: z),
    Kind(_C, zipf(1000)),
    Kind(_N, lambda z: np.where(z < 0.25, 0.0, z)),
    Kind(_B, lambda z: (z > 1.9).astype(float)),
    Kind(_N, lambda z: np.exp(1.5 * z)),
    Kind(_C, zipf(4)),
    Kind(ColumnType.INTEGER, lambda z: np.clip(np.floor(1.2 * z + 2), 0, 5)),
    Kind(_N, lambda z: z, missing=0.02),
    Kind(_C, zipf(50)),
    Kind(_N, _student_2),
    Kind(_C, zipf(10_000)),
    Kind(_B, lambda z: (z > 0.3).astype(float)),
    Kind(_N, lambda z: np.round(z, 1), missing=0.3),
    Kind(ColumnType.DATETIME, _even),
    Kind(_N, lambda z: z**3),
    Kind(_N, lambda z: np.where(z < 2.2, 0.0, z)),
    Kind(_C, zipf(4), missing=0.05),
    Kind(_N, lambda z: z),
    Kind(_N, np.exp),
    Kind(ColumnType.INTEGER, lambda z: np.floor(np.exp(z / 2 + 1.5))),
)


class _Path(msgspec.Struct, frozen=True):
    """What the batches of reference and year have in common, in units of the sd of rows."""

    levels: Floats  # [columns + 1, batches], those of the score last

    @classmethod
    def drawn(cls, world: World, batches: int, known: int, rng: Rng) -> _Path:
        shape = (world.columns + 1, batches)
        touched = np.zeros(shape[0], dtype=bool)
        touched[: max(1, round(world.some * shape[0]))] = True
        levels = world.level * rng.normal(size=shape) * rng.permutation(touched)[:, None]
        levels += world.shared * rng.normal(size=batches)
        days = np.arange(batches) + rng.integers(7)
        levels += world.week * (days % 7 >= 5) * rng.choice([-1, 1], (shape[0], 1))
        if world.walk:
            levels += world.walk * _walks(shape, known, rng)
        return cls(levels)


def _walks(shape: tuple[int, int], known: int, rng: Rng) -> Floats:
    """Random walks that are reflected at the ends of what the first ``known`` batches were."""
    walk = np.cumsum(rng.normal(size=shape), axis=1)
    low, high = (f(walk[:, :known], axis=1, keepdims=True) for f in (np.min, np.max))
    width = high - low
    folded = np.abs((walk - low + width) % (2 * width) - width)
    return np.asarray(2 * folded / width - 1)


def _latent(
    world: World, levels: Floats, common: NDArray[np.float32], rng: Rng, rows: int
) -> NDArray[np.float32]:
    """Latent values of one column, batch after batch: float32[batches * rows]."""
    own = rng.standard_normal(common.size, dtype=np.float32)
    z = np.float32(math.sqrt(0.3)) * common + np.float32(math.sqrt(0.7)) * own
    if world.ar:
        from scipy.signal import lfilter

        z = lfilter([np.float32(math.sqrt(1 - world.ar**2))], [1, np.float32(-world.ar)], z)
    z = z.reshape(-1, rows) + levels[:, None].astype(np.float32)
    return np.asarray(z.ravel(), dtype=np.float32)


def _values(kind: Kind, z: NDArray[np.float32], world: World, rng: Rng) -> Floats:
    values = np.asarray(kind.values(np.asarray(z)), dtype=np.float64)
    if kind.missing:
        from scipy.special import ndtri

        # Half of the level reaches the missing values, by the latent of the value itself.
        noise = rng.standard_normal(z.size, dtype=np.float32)
        hidden = 0.5 * z + math.sqrt(0.75) * noise
        values = np.where(hidden < ndtri(kind.missing), np.nan, values)
    return values


# -- a model-year ---------------------------------------------------------------------------------


class Outcome(msgspec.Struct, frozen=True):
    """Windows of one model-year that were flagged, by family, and by what."""

    flagged: int
    by_family: dict[str, int]
    checks: dict[str, int]  # check and kind of column -> windows


def model_year(world: World, seed: int) -> Outcome:
    """Simulate and judge one year of a model."""
    rng = np.random.default_rng(seed)
    known = math.ceil(world.reference / world.rows)
    path = _Path.drawn(world, known + world.windows, known, rng)
    reference, scores = _reference(world, path.levels[:, :known], rng)
    budget = Budget(false_alarms_per_year=1.0, window=YEAR / world.windows)
    windows = [
        Window(START + k * budget.window, START + (k + 1) * budget.window)
        for k in range(world.windows)
    ]
    tally: dict[str, set[int]] = {family: set() for family in FAMILIES}
    checks: dict[str, int] = {}
    rules = [DriftRules(alpha=budget.alpha(f), min_rows=MIN_ROWS) for f in ("columns", "scores")]
    certain = budget.alpha("data quality") / (5 * world.columns)
    at_once = max(1, min(world.windows, ROWS_A_BLOCK // world.rows))
    for first in range(0, world.windows, at_once):
        block = slice(first, min(first + at_once, world.windows))
        levels = path.levels[:, known:][:, block]
        news, new_scores = _profiles(world, reference, scores, levels, rng)
        drifted = drift_findings_by_window(
            reference, list(zip(windows[block], news, strict=True)), rules[0]
        )
        of_scores = score_drift_findings_by_window(
            scores, list(zip(windows[block], new_scores, strict=True)), rules[1]
        )
        for k, found in enumerate(drifted):
            window = windows[first + k]
            quality = quality_findings(
                reference, news[k], window, min_rows=MIN_ROWS, certain=certain
            )
            judged = zip(FAMILIES, (found, quality, of_scores[k]), strict=True)
            for family, findings in judged:
                for finding in findings:
                    if finding.verdict in (Verdict.WARNING, Verdict.ALARM):
                        tally[family].add(first + k)
                        key = f"{finding.check} of {_kind_of(finding, world)}"
                        checks[key] = checks.get(key, 0) + 1
    return Outcome(
        flagged=len(set().union(*tally.values())),
        by_family={family: len(held) for family, held in tally.items()},
        checks=checks,
    )


def _kind_of(finding: Finding, world: World) -> str:
    return (
        finding.subject
        if not finding.subject.startswith("c")
        else (f"kind {int(finding.subject.split()[0][1:]) % len(KINDS)}")
    )


def _kinds(world: World) -> list[Kind]:
    return [KINDS[j % len(KINDS)] for j in range(world.columns)]


def _reference(world: World, levels: Floats, rng: Rng) -> tuple[Profile, Profile]:
    """The profiles of the reference rows and of their scores."""
    size = levels.shape[1] * world.rows
    common = rng.standard_normal(size, dtype=np.float32)
    X = np.empty((world.reference, world.columns))
    features = []
    order = rng.permutation(world.reference) if world.shuffled else np.arange(world.reference)
    for j, kind in enumerate(_kinds(world)):
        z = _latent(world, levels[j], common, rng, world.rows)[: world.reference]
        values = _values(kind, z, world, rng)[order]
        names: tuple[str, ...] = ()
        if kind.type is ColumnType.CATEGORY:
            held, counts = np.unique(values[~np.isnan(values)], return_counts=True)
            listed = held[np.argsort(-counts, kind="stable")][:LISTED].astype(np.int64)
            names = tuple(map(str, listed))
            values = _codes(values, names)
        X[:, j] = values
        features.append(Column(name=f"c{j}", type=kind.type, categories=names, unknown="other"))
    spec = profile_spec(X, features, in_time_order=True)
    counted = profile(X, spec)
    cells = [cells_of(x, column) for x, column in zip(X.T, spec.columns, strict=True)]
    joint = joint_of_cells(cells, [column.counts for column in counted.columns])
    z = _latent(world, levels[-1], common, rng, world.rows)[: world.reference][order]
    of_scores = 1 / (1 + np.exp(1 - z.astype(np.float64)))
    return (
        msgspec.structs.replace(counted, joint=joint),
        profile(of_scores, score_spec(of_scores, in_time_order=True)),
    )


def _codes(values: Floats, names: tuple[str, ...]) -> Floats:
    """Codes of categories that are numbered; those not listed come last."""
    table = np.full(10_001, len(names), dtype=np.float64)
    table[[int(name) for name in names]] = np.arange(len(names))
    absent = np.isnan(values)
    codes = table[np.where(absent, 0, values).astype(np.int64)]
    return np.where(absent, np.nan, codes)


def _profiles(
    world: World, reference: Profile, scores: Profile, levels: Floats, rng: Rng
) -> tuple[list[Profile], list[Profile]]:
    """The profiles of some windows, and those of their scores."""
    count = levels.shape[1]
    common = rng.standard_normal(count * world.rows, dtype=np.float32)
    columns, cells = [], []
    for j, kind in enumerate(_kinds(world)):
        spec = reference.spec.columns[j]
        values = _values(kind, _latent(world, levels[j], common, rng, world.rows), world, rng)
        if kind.type is ColumnType.CATEGORY:
            values = _codes(values, spec.categories)
        columns.append(_windows_of(spec, values, count, world.rows))
        cells.append(cells_of(values, spec).reshape(count, world.rows))
    z = _latent(world, levels[-1], common, rng, world.rows)
    of_scores = 1 / (1 + np.exp(1 - z.astype(np.float64)))
    new_scores = _windows_of(scores.spec.columns[0], of_scores, count, world.rows)
    held = [column.counts for column in reference.columns]
    return [
        Profile(
            spec=reference.spec,
            n=world.rows,
            columns=tuple(column[k] for column in columns),
            joint=joint_of_cells([c[k] for c in cells], held),
        )
        for k in range(count)
    ], [Profile(spec=scores.spec, n=world.rows, columns=(column,)) for column in new_scores]


def _windows_of(spec: ColumnSpec, values: Floats, count: int, rows: int) -> list[ColumnProfile]:
    """The profiles of one column in consecutive windows, counted at once."""
    if spec.categorical:
        cells = cells_of(values, spec).astype(np.int64)
        at = np.repeat(np.arange(count), rows) * (spec.cells + 1) + cells
        held = np.bincount(at, minlength=count * (spec.cells + 1)).reshape(count, -1)
        return [category_profile(h[:-1], missing=int(h[-1])) for h in held]
    return [encoded_profile(window, spec) for window in np.split(values, count)]


# -- the table of years ---------------------------------------------------------------------------


def years_table(years: int, seed: int, word: str, workers: int) -> None:
    """Print flagged windows a model-year, world by world."""
    worlds = [world for world in WORLDS if word in world.name]
    weight = sum(world.weight for world in worlds)
    print(f"Flagged windows in a model-year without change; allowed {ALLOWED:.2f}")
    print(
        f"{'world':30}{'columns':>8}{'window':>8}{'reference':>10}{'years':>7}"
        f"{'flagged a year':>22}{'by family':>22}{'CPU s':>8}"
    )
    total = failed = 0
    with multiprocessing.Pool(workers) as pool:
        for position, world in enumerate(worlds):
            n = max(2, round(years * world.weight / weight))
            tasks = [(world, seed * 1_000_003 + 1000 * position + k) for k in range(n)]
            done = pool.starmap(_timed, tasks, chunksize=1)
            held = np.array([outcome.flagged for outcome, _ in done], dtype=float)
            families = " ".join(
                f"{np.mean([o.by_family[family] for o, _ in done]):6.3f}" for family in FAMILIES
            )
            error = held.std(ddof=1) / math.sqrt(n)
            verdict = "" if held.mean() <= ALLOWED else "  over"
            print(
                f"{world.name:30}{world.columns:8}{world.rows:8}{world.reference:10}{n:7}"
                f"{held.mean():14.3f} ± {error:.3f}{families:>24}"
                f"{sum(cpu for _, cpu in done):8.1f}{verdict}",
                flush=True,
            )
            checks: dict[str, int] = {}
            for outcome, _ in done:
                for check, count in outcome.checks.items():
                    checks[check] = checks.get(check, 0) + count
            for check, count in sorted(checks.items(), key=lambda item: -item[1])[:4]:
                print(f"    {count} {check}")
            total, failed = total + n, failed + int(held.sum())
    print(f"{failed} windows flagged in {total} model-years: {failed / total:.3f} a year")


def _timed(world: World, seed: int) -> tuple[Outcome, float]:
    start = _cpu()
    return model_year(world, seed), _cpu() - start


def _cpu() -> float:
    return time.process_time()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--years", type=int, default=200, help="model-years over all worlds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", default="", help="only worlds with this in the name")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    years_table(given.years, given.seed, given.worlds, given.workers)


if __name__ == "__main__":
    main()
