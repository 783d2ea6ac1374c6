"""What every peer script does: import, read pairs, examine them, print one line of JSON.

The scripts run in environments of their own, so this module needs the standard library only.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
Flags = dict[str, Sequence[str]]  # rule -> columns flagged; "*" stands for the rows as a whole


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A tool as its documentation says to use it."""

    distribution: str  # whose version is told
    libraries: tuple[str, ...]  # imported first, and timed
    read: Callable[[Path], Any]  # a Parquet file, as the tool wants rows
    prepare: Callable[[Any], Any] | None  # reference -> what may be stored; None: cannot be
    check: Callable[[Any, Any], Flags]  # (what is stored or else the reference, current rows)


def main(peer: Peer) -> None:
    """Examine each pair in a folder, or those at which it gets in so many seconds.

    The arguments are the folder and the seconds.
    """
    folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
    _, import_s, _ = _timed(lambda: [importlib.import_module(name) for name in peer.libraries])
    pairs = [_examine(peer, pair) for pair in _until(seconds, sorted(folder.iterdir()))]
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    print()  # tools may have left a line unfinished
    version = importlib.metadata.version(peer.distribution)
    measured = {"version": version, "import_s": import_s, "peak_mb": peak / 1e6, "pairs": pairs}
    print(json.dumps(measured))


def _until(seconds: float, folders: Sequence[Path]) -> Iterator[Path]:
    """The first folder, and the next ones until the time is over."""
    end = time.perf_counter() + seconds
    for number, folder in enumerate(folders):
        if number and time.perf_counter() >= end:
            return
        yield folder


def _examine(peer: Peer, folder: Path) -> dict[str, Any]:
    paths = [folder / "reference.parquet", folder / "current.parquet"]
    (reference, current), load_s, _ = _timed(lambda: [peer.read(path) for path in paths])
    prepare_s, prepare_cpu_s = None, 0.0
    if prepare := peer.prepare:
        reference, prepare_s, prepare_cpu_s = _timed(lambda: prepare(reference))
    flags, check_s, check_cpu_s = _timed(lambda: peer.check(reference, current))
    return {
        "load_s": load_s,
        "prepare_s": prepare_s,
        "prepare_cpu_s": prepare_cpu_s,
        "check_s": check_s,
        "check_cpu_s": check_cpu_s,
        "flags": {rule: [str(column) for column in columns] for rule, columns in flags.items()},
    }


def _timed(work: Callable[[], Result]) -> tuple[Result, float, float]:
    """What the work returns, its wall seconds, and its CPU seconds over all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu
