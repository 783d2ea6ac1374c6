"""SciPy's tests column by column: Kolmogorov-Smirnov for numbers, chi-square for categories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.drift.measuring import Flags, Peer, main

ALPHA = 0.05


def read(path: Path) -> Any:
    """The file as a pandas frame."""
    import pandas as pd

    return pd.read_parquet(path)


def check(reference: Any, current: Any) -> Flags:
    """Columns whose p-value is below 0.05, and below 0.05 / number of columns."""
    p_values = {name: _p_value(reference[name], current[name]) for name in reference.columns}
    return {
        "p < 0.05": [name for name, p in p_values.items() if p < ALPHA],
        "Bonferroni": [name for name, p in p_values.items() if p < ALPHA / len(p_values)],
    }


def _p_value(reference: Any, current: Any) -> float:
    import pandas as pd
    from scipy import stats

    if pd.api.types.is_numeric_dtype(reference):
        return float(stats.ks_2samp(reference.dropna(), current.dropna()).pvalue)
    counts = pd.concat([reference.value_counts(), current.value_counts()], axis=1).fillna(0)
    return float(stats.chi2_contingency(counts).pvalue)


if __name__ == "__main__":
    main(
        Peer(
            distribution="scipy",
            libraries=("pandas", "scipy.stats"),
            read=read,
            prepare=None,
            check=check,
        )
    )
