"""The floor: each column of the current rows is counted once, and nothing is decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.drift.measuring import Flags, Peer, main

BINS = 50


def read(path: Path) -> Any:
    """The file as an Arrow table."""
    import pyarrow.parquet as pq

    return pq.read_table(path)


def prepare(reference: Any) -> Any:
    """Lowest and highest value of each column of numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ranges = {}
    for field in reference.schema:
        if not pa.types.is_string(field.type):
            extremes = pc.min_max(reference[field.name]).as_py()
            ranges[field.name] = (extremes["min"], extremes["max"])
    return ranges


def check(ranges: Any, current: Any) -> Flags:
    """Histograms of numbers, and counts of categories."""
    import numpy as np

    for name in current.column_names:
        if name in ranges:
            np.histogram(current[name].to_numpy(), BINS, range=ranges[name])
        else:
            current[name].value_counts()
    return {}


if __name__ == "__main__":
    main(
        Peer(
            distribution="numpy",
            libraries=("numpy", "pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet"),
            read=read,
            prepare=prepare,
            check=check,
        )
    )
