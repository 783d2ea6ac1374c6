"""The data: random columns of several kinds, and the Parquet files that every tool reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from benchmarks.drift.settings import Setting

SEED = 20_261_126
MEAN, SD = 50.0, 10.0  # of every normal column

Columns = dict[str, NDArray[Any]]  # categories as codes, missing numbers as NaN


class Layout(NamedTuple):
    """How many columns there are of each kind, all independent of each other."""

    normals: int
    lognormals: int
    counts: int  # Poisson
    levels: tuple[int, ...]  # of each column of categories; the k-th level has a share ~ 1/k


NARROW = Layout(12, 2, 2, (4, 7, 10, 1000))  # 20 columns
WIDE = Layout(30, 5, 5, (4, 5, 6, 7, 8, 9, 10, 10, 10, 1000))  # 50 columns


def draw(layout: Layout, rows: int, rng: np.random.Generator) -> Columns:
    """Columns by name; a name begins with the kind of its column."""
    columns: Columns = {}
    for number in range(layout.normals):
        columns[f"normal_{number}"] = rng.normal(MEAN, SD, rows)
    for number in range(layout.lognormals):
        columns[f"lognormal_{number}"] = rng.lognormal(0.0, 1.0, rows)
    for number in range(layout.counts):
        columns[f"count_{number}"] = rng.poisson(3.0, rows)
    for number, levels in enumerate(layout.levels):
        weights = np.cumsum(1 / np.arange(1, levels + 1))
        uniform = rng.uniform(0, weights[-1], rows)
        columns[f"category_{number}"] = np.searchsorted(weights, uniform, side="right")
    return columns


def write(columns: Columns, path: Path) -> None:
    """Write columns as a Parquet file, categories as text and NaN as null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for name, values in columns.items():
        if name.startswith("category"):
            levels = [f"level {code}" for code in range(int(values.max()) + 1)]
            arrays[name] = pa.DictionaryArray.from_arrays(values, levels).cast(pa.string())
        else:
            arrays[name] = pa.array(values, from_pandas=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path)


def write_pair(folder: Path, layout: Layout, rows: int) -> None:
    """One pair without a change, ``rows`` of reference and as many current ones."""
    rng = np.random.default_rng([SEED, rows])
    for part in ("reference", "current"):
        write(draw(layout, rows, rng), folder / "0000" / f"{part}.parquet")


def write_trials(folder: Path, setting: Setting, trials: int) -> None:
    """So many pairs of one setting, each in a folder of its own."""
    for trial in range(trials):
        rng = np.random.default_rng([SEED, *setting.name.encode(), trial])
        reference = draw(NARROW, setting.reference_rows, rng)
        setting.before(reference, rng)
        write(reference, folder / f"{trial:04}" / "reference.parquet")
        current = draw(NARROW, setting.current_rows, rng)
        setting.after(current, rng)
        write(current, folder / f"{trial:04}" / "current.parquet")
