"""How often each tool finds a change that is there, and one that is not."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.drift.peers import TOOLS, PeerError, examine
from benchmarks.drift.settings import Setting

WIDTH = 13  # of a cell


def print_header(tools: Sequence[str]) -> None:
    """Two lines: tools, and what of theirs counts as a flag."""
    for part in (0, 1):
        names = [(tool, rule)[part] for tool in tools for rule in TOOLS[tool].rules]
        print(f"{'':40}" + "".join(f"{name:>{WIDTH}}" for name in names))


def print_row(setting: Setting, folder: Path, trials: int, tools: Sequence[str]) -> list[str]:
    """One row of the table, for the trials in a folder; returns what went wrong."""
    cells, errors = [], []
    for tool in tools:
        try:
            pairs = examine(tool, folder)["pairs"]
            cells += [_cell(pairs, rule, setting.changed) for rule in TOOLS[tool].rules]
        except PeerError as error:
            cells += ["error"] * len(TOOLS[tool].rules)
            errors.append(f"{tool}: {error}")
    row = f"{setting.name:34}{trials:6}" + "".join(f"{cell:>{WIDTH}}" for cell in cells)
    print(row, flush=True)
    return errors


def _cell(pairs: Sequence[dict[str, Any]], rule: str, changed: Sequence[str]) -> str:
    """Per cent of trials with a flag, and per cent of the changed columns that were named."""
    flags = [set(pair["flags"][rule]) for pair in pairs]
    flagged = statistics.mean(bool(columns) for columns in flags)
    if not changed:
        return f"{flagged:.0%}"
    named = statistics.mean(len(columns & {*changed}) / len(changed) for columns in flags)
    return f"{flagged:.0%} {named:4.0%}"
