"""``gyroscope.drift``: what changed between two tables, for notebooks, pages and programs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gyroscope.data.table_profile import reference_profile, table_profile
from gyroscope.errors import UsageError
from gyroscope.findings import Finding, Verdict
from gyroscope.monitor.changes import ALPHA, MATERIAL_PSI, DriftRules
from gyroscope.monitor.comparison import DriftReport, compare

# Chance that a comparison without any change has a notice. Generous: a notice wakes nobody, and a
# shift of a tenth of a standard deviation on 2,000 rows of 20 columns is to be seen.
NOTICE_ALPHA = 0.2
MIN_ROWS = 100


class Comparison:
    """What changed between two tables. In a notebook it shows itself."""

    def __init__(self, report: DriftReport) -> None:
        self.report = report

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything that was examined, the worst first."""
        return self.report.findings

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all findings."""
        return self.report.verdict

    def __repr__(self) -> str:
        return f"<{self.verdict}: {self.report.summary}>"

    def _repr_html_(self) -> str:
        from gyroscope.web.drift_page import drift_fragment

        return drift_fragment(self.report)

    def to_html(self, path: Path | str) -> None:
        """Write a page of its own, with charts of the columns that changed most."""
        from gyroscope.web.drift_page import write_drift_page

        write_drift_page(self.report, Path(path))


def drift(
    reference: Any,
    current: Any,
    *,
    material_psi: float = MATERIAL_PSI,
    alpha: float = ALPHA,
    notice_alpha: float = NOTICE_ALPHA,
    min_rows: int = MIN_ROWS,
    in_time_order: bool | None = None,
    columns: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
) -> Comparison:
    """Compare two tables column by column, and how their columns go together.

    A column is flagged (a warning) if the change is material and significant; a change that is
    significant only is a notice, and data that look broken are an alarm.

    Args:
        reference: a path or pattern of CSV or Parquet files, a frame of pandas or Polars, an Arrow
            table or anything with the Arrow C stream, or a dict of arrays.
        current: the same, of the rows to be judged.
        material_psi: population stability index that a change must surely pass to be a warning;
            0.02 is a shift of a seventh of a standard deviation.
        alpha: chance that a comparison without any change has a warning, over all its checks.
        notice_alpha: the same of a notice.
        min_rows: rows below which the answer is "not enough data".
        in_time_order: whether the rows of the reference stand in order of time, so that what its
            parts differed by can be allowed to the current rows; None: judged by the rows.
        columns: names of the columns to compare; None: all that the reference has.
        ignore: names of columns to leave out.

    Raises:
        UsageError: no such file or column, or a number out of its range.
        DataError: a table that cannot be read.
    """
    _check_rules(material_psi, {"alpha": alpha, "notice_alpha": notice_alpha}, min_rows)
    rules = DriftRules(
        material_psi=material_psi, alpha=alpha, notice_alpha=notice_alpha, min_rows=min_rows
    )
    spec, before = reference_profile(
        reference, in_time_order=in_time_order, columns=columns, ignore=ignore
    )
    return Comparison(compare(before, table_profile(current, spec, reference=before), rules))


def _check_rules(material_psi: float, chances: Mapping[str, float], min_rows: int) -> None:
    if not 0 < material_psi < math.inf:
        raise UsageError(f"material_psi must be a positive number, got {material_psi}")
    for name, chance in chances.items():
        if not 0 < chance < 1:
            raise UsageError(f"{name} must lie in (0, 1), got {chance}")
    if min_rows < 1:
        raise UsageError(f"min_rows must be at least 1, got {min_rows}")
