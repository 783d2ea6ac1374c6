"""How long Gyroscope takes to start: the median of several runs, each in a new process.

python benchmarks/startup.py [RUNS]
"""

from __future__ import annotations

import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

FLOOR = "python -c pass"
STARTS: dict[str, Sequence[str]] = {
    FLOOR: ("-c", "pass"),
    "import gyroscope": ("-c", "import gyroscope"),
    "gyro --version": ("-m", "gyroscope", "--version"),
    "gyro --help": ("-m", "gyroscope", "--help"),
    "import gyroscope.serve.app": ("-c", "import gyroscope.serve.app"),
    "gyro drift": ("-m", "gyroscope", "drift", "before.csv", "after.csv"),
}
ROWS = 1000  # of the tables that gyro drift compares; what it finds in them is chance
RUNS = 11


def write_tables(folder: Path) -> None:
    """Two tables of four columns for ``gyro drift``, of equal distributions."""
    chance = random.Random(1)
    for name in ("before.csv", "after.csv"):
        rows = (
            f"{chance.gauss(40, 10):.1f},{chance.choice('abc')},{chance.randint(0, 9)},"
            f"2024-01-{chance.randint(1, 28):02}"
            for _ in range(ROWS)
        )
        (folder / name).write_text("\n".join(["age,plan,visits,day", *rows]), encoding="utf-8")


def start_time(arguments: Sequence[str], folder: str) -> tuple[float, float]:
    """Seconds from the start of a Python process to its end, and those that processors worked.

    Raises:
        subprocess.CalledProcessError: the process failed.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, cwd=folder)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(runs: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds of each start, ``runs`` times; in turns, so that a busy moment meets all alike."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in STARTS}
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder))
        for arguments in STARTS.values():
            start_time(arguments, folder)  # byte code and file cache, not counted
        for _ in range(runs):
            for name, arguments in STARTS.items():
                times[name].append(start_time(arguments, folder))
    return times


def main() -> None:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    times = measure(runs)
    floor = statistics.median(seconds for seconds, _ in times[FLOOR])
    print(f"Start times, Python {sys.version.split()[0]}, {runs} runs each\n")
    print(f"{'':28}{'median':>9}{'fastest':>9}{'slowest':>9}{'CPU':>9}{'ratio':>7}")
    for name, measured in times.items():
        seconds, worked = zip(*measured, strict=True)
        median = statistics.median(seconds)
        numbers = (median, min(seconds), max(seconds), statistics.median(worked))
        columns = "".join(f"{1000 * number:6.0f} ms" for number in numbers)
        print(f"{name:28}{columns}{median / floor:7.1f}")


if __name__ == "__main__":
    main()
