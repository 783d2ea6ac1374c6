"""NannyML's univariate drift, with its own methods and thresholds.

Its thresholds come from chunks of the reference, ten by default. Current rows are examined in
chunks of the same size, as its documentation asks; a column is flagged if any of them alerts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.drift.measuring import Flags, Peer, main

CHUNKS = 10


def read(path: Path) -> Any:
    """The file as a pandas frame."""
    import pandas as pd

    return pd.read_parquet(path)


def prepare(reference: Any) -> Any:
    """A calculator that knows the reference."""
    import nannyml

    calculator = nannyml.UnivariateDriftCalculator(
        column_names=list(reference.columns),
        treat_as_categorical=list(reference.select_dtypes(exclude="number")),
        chunk_size=len(reference) // CHUNKS,
    )
    return calculator.fit(reference)


def check(calculator: Any, current: Any) -> Flags:
    """Columns that alert in any chunk of the current rows."""
    results = calculator.calculate(current).filter(period="analysis").to_df()
    alerts = results.xs("alert", axis=1, level=2).any()
    return {"any column": [column for (column, _), alert in alerts.items() if alert]}


if __name__ == "__main__":
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    main(
        Peer(
            distribution="nannyml",
            libraries=("pandas", "nannyml"),
            read=read,
            prepare=prepare,
            check=check,
        )
    )
