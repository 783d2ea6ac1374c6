"""What may change between reference and current rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from benchmarks.drift.worlds import MEAN, NARROW, SD, Columns

Change = Callable[[Columns, np.random.Generator], None]  # made in place


def nothing(columns: Columns, rng: np.random.Generator) -> None:
    """No change."""


def shift(columns: Columns, _: np.random.Generator, *, names: tuple[str, ...], sds: float) -> None:
    """The mean of normal columns moves up by a multiple of their standard deviation."""
    for name in names:
        columns[name] = columns[name] + sds * SD


def widen(columns: Columns, _: np.random.Generator, *, name: str, factor: float) -> None:
    """The standard deviation of a normal column grows."""
    columns[name] = MEAN + factor * (columns[name] - MEAN)


def rescale(columns: Columns, _: np.random.Generator, *, name: str, factor: float) -> None:
    """A column comes in another unit."""
    columns[name] = factor * columns[name]


def correlate(
    columns: Columns, _: np.random.Generator, *, pair: tuple[str, str], correlation: float
) -> None:
    """Two independent normal columns become correlated; each alone stays as it was."""
    first, second = (columns[name] - MEAN for name in pair)
    rest = np.sqrt(1 - correlation**2)
    columns[pair[1]] = MEAN + correlation * first + rest * second


def lose(columns: Columns, rng: np.random.Generator, *, name: str, share: float) -> None:
    """A share of a column's values is missing, at random."""
    values = columns[name]
    columns[name] = np.where(rng.uniform(size=len(values)) < share, np.nan, values)


def move_share(columns: Columns, rng: np.random.Generator, *, name: str, share: float) -> None:
    """So much of all rows moves from the most frequent category to the least frequent one."""
    codes = columns[name]
    levels = NARROW.levels[int(name.removeprefix("category_"))]
    first = 1 / np.sum(1 / np.arange(1, levels + 1))  # share of the most frequent one
    moved = (codes == 0) & (rng.uniform(size=len(codes)) < share / first)
    columns[name] = np.where(moved, levels - 1, codes)


def add_category(columns: Columns, rng: np.random.Generator, *, name: str, share: float) -> None:
    """A share of the rows has a category that was never seen before."""
    codes = columns[name]
    levels = NARROW.levels[int(name.removeprefix("category_"))]
    columns[name] = np.where(rng.uniform(size=len(codes)) < share, levels, codes)


class Setting(NamedTuple):
    """One change, or none; every tool sees the same trials of it."""

    name: str
    changed: tuple[str, ...]  # columns
    after: Change  # made to the current rows
    before: Change = nothing  # made to the reference
    reference_rows: int = 10_000
    current_rows: int = 2_000


def _settings() -> Iterator[Setting]:
    one, five = ("normal_0",), tuple(f"normal_{number}" for number in range(5))
    yield Setting("no change", (), nothing)
    yield Setting(
        "shift 0.02 sd, 1 column, 100,000 rows",
        one,
        partial(shift, names=one, sds=0.02),
        reference_rows=100_000,
        current_rows=100_000,
    )
    for sds in (0.1, 0.25, 0.5):
        yield Setting(f"shift {sds} sd, 1 column", one, partial(shift, names=one, sds=sds))
        yield Setting(f"shift {sds} sd, 5 columns", five, partial(shift, names=five, sds=sds))
    yield Setting("scale x 1.5", one, partial(widen, name=one[0], factor=1.5))
    yield Setting(
        "category share 15 points",
        ("category_0",),
        partial(move_share, name="category_0", share=0.15),
    )
    yield Setting(
        "new category 3 %", ("category_2",), partial(add_category, name="category_2", share=0.03)
    )
    yield Setting(
        "missing 2 % -> 10 %",
        one,
        partial(lose, name=one[0], share=0.10),
        before=partial(lose, name=one[0], share=0.02),
    )
    yield Setting(
        "unit x 1000", ("lognormal_0",), partial(rescale, name="lognormal_0", factor=1000.0)
    )
    pair = ("normal_0", "normal_1")
    yield Setting(
        "correlation 0 -> 0.6, 5,000 rows",
        pair,
        partial(correlate, pair=pair, correlation=0.6),
        reference_rows=5_000,
        current_rows=5_000,
    )


SETTINGS = tuple(_settings())
