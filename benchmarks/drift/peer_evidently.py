"""Evidently's preset for data drift, with its own methods and thresholds.

It stores no reference: both data sets are examined at each run. Plots are part of a run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.drift.measuring import Flags, Peer, main


def read(path: Path) -> Any:
    """The file as a data set with the type of each column."""
    import pandas as pd
    from evidently import DataDefinition, Dataset

    frame = pd.read_parquet(path)
    numbers = list(frame.select_dtypes("number"))
    categories = [name for name in frame if name not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    return Dataset.from_pandas(frame, data_definition=definition)


def check(reference: Any, current: Any) -> Flags:
    """Columns whose test failed, and whether so many did that the data set counts as drifted."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    report = Report([DataDriftPreset()], include_tests=True)
    tests = report.run(current, reference).dict()["tests"]
    failed = [test["metric_config"]["params"] for test in tests if test["status"] == "FAIL"]
    columns = [params["column"] for params in failed if "column" in params]
    return {
        "any column": columns,
        "half of them": columns if len(columns) < len(failed) else [],
    }


if __name__ == "__main__":
    main(
        Peer(
            distribution="evidently",
            libraries=("pandas", "evidently", "evidently.presets"),
            read=read,
            prepare=None,
            check=check,
        )
    )
