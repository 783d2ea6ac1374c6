"""How fast the prediction log is, next to the bare writes and syncs it cannot do without.

Run: python benchmarks/prediction_log.py [--rows 300000] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from gyroscope.findings import Window
from gyroscope.model import Label, Prediction, Value
from gyroscope.prediction_log import FileLog, GroupCommit
from gyroscope.prediction_log.compaction import compact

START = datetime(2026, 1, 1, tzinfo=UTC)
WEEKS = 52
COLUMNS = tuple(f"column_{number}" for number in range(20))


def history(rows: int, rng: random.Random) -> tuple[list[Prediction], list[Label]]:
    """A year of predictions with 20 columns, in order of time, and their labels by arrival."""
    step = timedelta(weeks=WEEKS) / rows
    predictions = [
        Prediction(
            id=f"{rng.getrandbits(128):032x}",
            version=1,
            time=START + number * step,
            arrival=START + number * step,
            columns=COLUMNS,
            row=_row(rng),
            score=rng.random(),
            entity=f"customer-{rng.randrange(rows)}",
        )
        for number in range(rows)
    ]
    labels = []
    for p in predictions:
        known = p.time + timedelta(days=rng.expovariate(1 / 12))
        labels.append(
            Label(prediction_id=p.id, label=rng.random() < 0.2, time=p.time, arrival=known)
        )
    return predictions, sorted(labels, key=lambda label: label.arrival)


def _row(rng: random.Random) -> tuple[Value, ...]:
    numbers = [rng.gauss(0, 1) for _ in range(10)]
    counts = [rng.randrange(1000) for _ in range(5)]
    return (*numbers, *counts, *(f"category {rng.randrange(9)}" for _ in range(5)))


def bytes_written(folder: Path) -> int:
    """Size of all segments."""
    return sum(path.stat().st_size for path in folder.iterdir())


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes by the clock."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def floor(folder: Path, size: int, writes: int, *, fsync: bool) -> float:
    """Seconds for as many writes of as many bytes without a log around them."""
    data = os.urandom(size // writes)
    file = os.open(folder / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def work() -> None:
        for _ in range(writes):
            os.write(file, data)
            if fsync:
                os.fdatasync(file)

    try:
        return seconds(work)
    finally:
        os.close(file)


def append_in_groups(log: FileLog, predictions: Sequence[Prediction], group: int) -> None:
    """Append predictions a group at a time."""
    for start in range(0, len(predictions), group):
        log.append(predictions[start : start + group])


def append_from_tasks(log: FileLog, predictions: Sequence[Prediction], tasks: int) -> None:
    """Append predictions one by one from concurrent tasks that share syncs."""

    async def request(commit: GroupCommit, first: int) -> None:
        for number in range(first, len(predictions), tasks):
            await commit.append([predictions[number]])

    async def main() -> None:
        commit = GroupCommit(log)
        await asyncio.gather(*(request(commit, first) for first in range(tasks)))
        await commit.close()

    uvloop.run(main())  # as the server does


def report_appends(folder: Path, predictions: Sequence[Prediction]) -> None:
    """Print records a second for each way of appending."""
    print(f"{'appends':<34}{'records/s':>12}{'floor':>12}{'share':>8}")
    for fsync in (True, False):
        for group, records in ((1, 2_000), (64, 40_000), (1024, 100_000)):
            some = predictions[: records if fsync else 10 * records]
            name = f"groups of {group}, {'fsync' if fsync else 'buffered'}"
            _report_append(folder, name, some, group, fsync=fsync)
    print(f"\n{'single records, syncs shared':<34}{'records/s':>12}{'/CPU s':>12}")
    for tasks in (64, 256, 1024):
        some = predictions[:100_000]
        place = folder / "tasks"
        log = FileLog(place)
        cpu = time.process_time()
        taken = seconds(lambda: append_from_tasks(log, some, tasks))  # noqa: B023  called at once
        cpu = time.process_time() - cpu
        log.close()
        shutil.rmtree(place)
        print(f"{f'{tasks} tasks, fsync':<34}{len(some) / taken:>12,.0f}{len(some) / cpu:>12,.0f}")


def _report_append(
    folder: Path, name: str, predictions: Sequence[Prediction], group: int, *, fsync: bool
) -> None:
    place = folder / "appends"
    log = FileLog(place, fsync=fsync)
    taken = seconds(lambda: append_in_groups(log, predictions, group))
    log.close()
    n = len(predictions)
    bare = floor(place, bytes_written(place), -(-n // group), fsync=fsync)
    shutil.rmtree(place)
    print(f"{name:<34}{n / taken:>12,.0f}{n / bare:>12,.0f}{bare / taken:>8.0%}")


def report_reads(
    folder: Path, predictions: Sequence[Prediction], labels: Sequence[Label], group: int
) -> None:
    """Print how long it takes to read a history that was appended in groups."""
    log = FileLog(folder, fsync=False)
    append_in_groups(log, predictions, group)
    for start in range(0, len(labels), group):
        log.append_labels(labels[start : start + group])
    log.close()
    title = f"{len(predictions):,} predictions and labels, appended in groups of {group}"
    _report_reads(folder, f"reads of segments: {title}", predictions)
    taken = seconds(lambda: compact(folder))
    print(f"\ncompacted into Parquet in {taken:.1f} s")
    _report_reads(folder, f"reads of Parquet files: {title}", predictions)


def _report_reads(folder: Path, title: str, predictions: Sequence[Prediction]) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    bare = seconds(lambda: [path.read_bytes() for path in files])
    log = FileLog(folder)
    weeks = [
        Window(START + timedelta(weeks=week), START + timedelta(weeks=week + 1))
        for week in range(WEEKS)
    ]
    print(f"\n{title}")
    print(f"{'size on disk, MB':<34}{size / 1e6:>12.1f}")
    for name, taken in (
        ("reading the bytes alone, s", bare),
        ("first look: index everything, s", seconds(log.span)),
        (f"{WEEKS} windows of a week, s", seconds(lambda: [log.read(week) for week in weeks])),
        ("the last window again, s", seconds(lambda: log.read(weeks[-1]))),
        ("the whole history, s", seconds(log.read)),
        ("known: 1,000 ids, s", seconds(lambda: log.known([p.id for p in predictions[:1000]]))),
    ):
        print(f"{name:<34}{taken:>12.3f}")
    log.close()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to measure")
    arguments = parser.parse_args()
    predictions, labels = history(arguments.rows, random.Random(1))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        report_appends(Path(folder), predictions)
        for group in (1, 64):
            report_reads(Path(folder) / f"reads {group}", predictions, labels, group)


if __name__ == "__main__":
    main()
