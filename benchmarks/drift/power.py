"""How often each tool finds a change that is there, and one that is not."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.drift.peers import TOOLS, PeerError, examine
from benchmarks.drift.settings import Setting

NAME, TRIALS, CELL = 38, 8, 13  # widths


def print_header(tools: Sequence[str]) -> None:
    """Two lines: tools, and what of theirs counts as a flag."""
    first = second = " " * NAME
    for tool in tools:
        rules = TOOLS[tool].rules
        first += f"{tool:>{TRIALS + CELL}}" + " " * CELL * (len(rules) - 1)
        second += f"{'trials':>{TRIALS}}" + "".join(f"{rule:>{CELL}}" for rule in rules)
    print(first.rstrip(), second, sep="\n")


def print_row(setting: Setting, folder: Path, tools: Sequence[str], seconds: float) -> list[str]:
    """One row of the table, for the trials in a folder; returns what went wrong.

    Each tool has so many seconds, and its cells are about the trials that it got through.
    """
    row, errors = f"{setting.name:{NAME}}", []
    for tool in tools:
        rules = TOOLS[tool].rules
        try:
            pairs = examine(tool, folder, seconds)["pairs"]
            trials, cells = len(pairs), [_cell(pairs, rule, setting.changed) for rule in rules]
        except PeerError as error:
            trials, cells = 0, ["error"] * len(rules)
            errors.append(f"{tool}: {error}")
        row += f"{trials:{TRIALS}}" + "".join(f"{text:>{CELL}}" for text in cells)
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
