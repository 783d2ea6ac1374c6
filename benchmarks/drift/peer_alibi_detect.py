"""alibi-detect's detector for tabular data: KS and chi-square tests, Bonferroni over columns.

It takes arrays of numbers, so that categories are coded while the file is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.drift.measuring import Flags, Peer, main


class Rows:
    """An array of numbers, with the names of its columns and which of them are categories."""

    def __init__(self, path: Path) -> None:
        import numpy as np
        import pandas as pd

        frame = pd.read_parquet(path)
        self.names = list(frame.columns)
        self.categories = [
            number
            for number, name in enumerate(self.names)
            if not pd.api.types.is_numeric_dtype(frame[name])
        ]
        for number in self.categories:  # "level 7" -> 7, the same code in every file
            name = self.names[number]
            frame[name] = frame[name].str.removeprefix("level ").astype(float)
        self.values = frame.to_numpy(dtype=np.float64)


def prepare(reference: Rows) -> Any:
    """A detector that holds the reference."""
    from alibi_detect.cd import TabularDrift

    return TabularDrift(
        reference.values, categories_per_feature=dict.fromkeys(reference.categories)
    )


def check(detector: Any, current: Rows) -> Flags:
    """Columns with a p-value below the corrected threshold, if the rows count as drifted."""
    data = detector.predict(current.values)["data"]
    columns = zip(current.names, data["p_val"], strict=True)
    return {"any column": [name for name, p in columns if p < data["threshold"]]}


if __name__ == "__main__":
    main(
        Peer(
            distribution="alibi-detect",
            libraries=("pandas", "alibi_detect.cd"),
            read=Rows,
            prepare=prepare,
            check=check,
        )
    )
