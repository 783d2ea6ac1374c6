"""Gyroscope, which this repository is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.drift.measuring import Flags, Peer, main

NOTABLE = ("notice", "warning", "alarm")


def read(path: Path) -> Any:
    """The file as an Arrow table."""
    import pyarrow.parquet as pq

    return pq.read_table(path)


def check(reference: Any, current: Any) -> Flags:
    """What was found at a warning or above, and what at a notice or above."""
    import gyroscope

    findings = gyroscope.drift(reference, current).findings
    notable = [finding for finding in findings if finding.verdict in NOTABLE]
    return {
        "warnings": _columns([f for f in notable if f.verdict != "notice"]),
        "notices too": _columns(notable),
    }


def _columns(findings: list[Any]) -> list[str]:
    """Those that findings are about; one about a pair names both."""
    return [name for finding in findings for name in finding.subject.split(" and ")]


if __name__ == "__main__":
    main(
        Peer(
            distribution="gyroscope-ml",
            libraries=(
                "pyarrow.dataset",
                "pyarrow.parquet",
                "gyroscope",
                "gyroscope.web.comparison",
            ),
            read=read,
            prepare=None,
            check=check,
        )
    )
