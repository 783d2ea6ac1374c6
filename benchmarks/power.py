"""The power of the checks of columns: how often a change is told through ``gyroscope.drift``.

python -m benchmarks.power [--trials N] [--seed N] [--changes WORD]
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from benchmarks.budget import Rng, zipf
from numpy.typing import NDArray

from gyroscope.findings import SEVERITY, Verdict
from gyroscope.web.comparison import NOTICE_ALPHA, drift

Table = dict[str, NDArray[Any]]
Change = Callable[[Table, Rng], None]

N_REFERENCE, N_CURRENT = 10_000, 2_000


def _table(n: int, rng: Rng) -> Table:
    """Twenty columns, in no order of time."""
    table: Table = {f"x{j}": rng.normal(size=n) for j in range(12)}
    table["amount"] = rng.lognormal(0, 1.5, n)
    table["claims"] = np.where(rng.random(n) < 0.6, 0.0, rng.exponential(size=n))
    table["visits"] = rng.poisson(3, n)
    table["income"] = np.where(rng.random(n) < 0.02, np.nan, rng.normal(3000, 800, n))
    table["plan"] = np.array(["basic", "plus", "pro"])[rng.choice(3, n, p=[0.3, 0.5, 0.2])]
    table["city"] = zipf(1000)(rng.normal(size=n)).astype(np.int64).astype("U4")
    table["flag"] = rng.random(n) < 0.03
    table["age"] = rng.integers(18, 90, n)
    return table


def _shift(sd: float) -> Change:
    def change(table: Table, rng: Rng) -> None:
        table["x3"] = table["x3"] + sd

    return change


def _scaled(column: str, factor: float) -> Change:
    def change(table: Table, rng: Rng) -> None:
        table[column] = table[column] * factor

    return change


def _share(table: Table, rng: Rng) -> None:
    plan = table["plan"]
    plan[(plan == "plus") & (rng.random(plan.size) < 0.3)] = "basic"


def _new_category(table: Table, rng: Rng) -> None:
    plan = table["plan"] = table["plan"].astype("U9")
    plan[rng.random(plan.size) < 0.03] = "ultra"


def _missing(table: Table, rng: Rng) -> None:
    table["income"][rng.random(table["income"].size) < 0.08 / 0.98] = np.nan


def _correlated(table: Table, rng: Rng) -> None:
    table["x4"] = 0.5 * table["x3"] + math.sqrt(0.75) * table["x4"]


class Case(msgspec.Struct, frozen=True):
    """A change, and how often it must be told."""

    name: str
    change: Change | None
    level: Verdict = Verdict.WARNING
    low: float = 0.0  # share of trials that are told, at least and at most
    high: float = 1.0
    current: int = N_CURRENT
    reference: int = N_REFERENCE
    part: float = 1.0  # of the trials


CASES = (
    Case("no change, a warning", None, high=0.001),
    Case("no change, a notice", None, level=Verdict.NOTICE, high=NOTICE_ALPHA),
    Case("0.25 sd in one of 20", _shift(0.25), low=0.99),
    Case("0.5 sd in one of 20", _shift(0.5), low=0.99),
    Case("scale x 1.5", _scaled("x3", 1.5), low=0.99),
    Case("share shifts by 15 points", _share, low=0.99),
    Case("3 % of a new category", _new_category, low=0.99),
    Case("missing 2 % to 10 %", _missing, low=0.99),
    Case("unit x 1000", _scaled("income", 1000), low=0.99),
    Case("correlation 0 to 0.5", _correlated, low=0.95, current=5_000),
    Case("0.1 sd in one of 20, a notice", _shift(0.1), level=Verdict.NOTICE, low=0.9),
    Case(
        "0.02 sd in one of 20, 100,000 rows each",
        _shift(0.02), high=0.01, current=100_000, reference=100_000, part=0.2,
    ),
)  # fmt: skip


def power_trial(case: Case, seed: int) -> bool:
    """Whether a change is told, in new samples."""
    rng = np.random.default_rng(seed)
    before, now = _table(case.reference, rng), _table(case.current, rng)
    if case.change is not None:
        case.change(now, rng)
    told = SEVERITY.index(drift(before, now).verdict)
    return told >= SEVERITY.index(case.level)


def power_table(trials: int, seed: int, word: str, workers: int) -> None:
    """Print how often changes are told through ``gyroscope.drift``."""
    print(f"{'change':42}{'trials':>8}{'told':>18}{'wanted':>16}")
    with multiprocessing.Pool(workers) as pool:
        for position, case in enumerate(CASES):
            if word not in case.name:
                continue
            n = max(1, round(trials * case.part))
            tasks = [(case.name, seed * 1_000_003 + 100_000 * position + k) for k in range(n)]
            told = sum(pool.starmap(_trial, tasks, chunksize=4)) / n
            error = math.sqrt(told * (1 - told) / n)
            wanted = f">= {case.low:g}" if case.low else f"<= {case.high:g}"
            print(f"{case.name:42}{n:8}{told:10.4f} ± {error:.4f}{wanted:>16}", flush=True)


def _trial(name: str, seed: int) -> bool:
    return power_trial(next(case for case in CASES if case.name == name), seed)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=400, help="of each change")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--changes", default="", help="only changes with this in the name")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    power_table(given.trials, given.seed, given.changes, given.workers)


if __name__ == "__main__":
    main()
