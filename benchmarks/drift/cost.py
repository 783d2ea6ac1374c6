"""Seconds and megabytes that a check of one pair costs."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.drift.peers import PeerError, command, examine, output

COLUMNS = ("import", "read", "reference", "check", "CPU", "peak MB", "x floor")


def print_cost(title: str, folder: Path, tools: Sequence[str], repeats: int) -> None:
    """Medians for each tool on the pair in a folder; in turns, each run in a new process."""
    runs: dict[str, list[dict[str, Any]]] = {tool: [] for tool in tools}
    errors: dict[str, PeerError] = {}
    for _ in range(repeats):
        for tool in tools:
            if tool not in errors:
                try:
                    runs[tool].append(examine(tool, folder))
                except PeerError as error:
                    errors[tool] = error
    print(f"\n{title}: seconds, medians of {repeats}\n")
    print(f"{'':24}" + "".join(f"{column:>11}" for column in COLUMNS))
    floor = _median(runs["floor"], "check_s") if runs.get("floor") else None
    for tool in tools:
        print(f"{tool:14}{errors[tool]}" if tool in errors else _row(tool, runs[tool], floor))
    sys.stdout.flush()


def _median(runs: Sequence[dict[str, Any]], name: str) -> float:
    """Of one number that was measured on the pair."""
    return statistics.median(float(run["pairs"][0][name]) for run in runs)


def _row(tool: str, runs: Sequence[dict[str, Any]], floor: float | None) -> str:
    stores = runs[0]["pairs"][0]["prepare_s"] is not None
    cells = (
        f"{statistics.median(run['import_s'] for run in runs):.2f}",
        f"{_median(runs, 'load_s'):.3f}",
        f"{_median(runs, 'prepare_s'):.3f}" if stores else "-",
        f"{_median(runs, 'check_s'):.3f}",
        f"{_median(runs, 'check_cpu_s'):.3f}",
        f"{statistics.median(run['peak_mb'] for run in runs):.0f}",
        f"{_median(runs, 'check_s') / floor:.1f}" if floor else "-",
    )
    return f"{tool + ' ' + runs[0]['version']:24}" + "".join(f"{cell:>11}" for cell in cells)


def print_process_cost(title: str, folder: Path, tools: Sequence[str], repeats: int) -> None:
    """Medians of whole processes, from their start to their end; ours is the command."""
    print(f"\n{title}: seconds of the whole process, medians of {repeats}\n")
    print(f"{'':24}{'wall':>11}{'CPU':>11}")
    for tool in tools:
        try:
            walls, cpus = zip(*(_process(tool, folder) for _ in range(repeats)), strict=True)
            cells = f"{statistics.median(walls):11.2f}{statistics.median(cpus):11.2f}"
            print(f"{tool:24}{cells}")
        except PeerError as error:
            print(f"{tool:14}{error}")
    sys.stdout.flush()


def _process(tool: str, folder: Path) -> tuple[float, float]:
    """Wall and CPU seconds."""
    arguments = command(tool, folder)
    if tool == "gyroscope":
        paths = [str(folder / "0000" / f"{part}.parquet") for part in ("reference", "current")]
        arguments = [arguments[0], "-m", "gyroscope", "drift", *paths, "--json"]
    began, used = time.perf_counter(), _cpu_of_children()
    output(arguments)
    return time.perf_counter() - began, _cpu_of_children() - used


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
