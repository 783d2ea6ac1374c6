"""How long Gyroscope takes to start: the median of several runs, each in a new process.

python benchmarks/startup.py [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

FLOOR = "python -c pass"
STARTS: dict[str, Sequence[str]] = {
    FLOOR: ("-c", "pass"),
    "import gyroscope": ("-c", "import gyroscope"),
    "gyro --version": ("-m", "gyroscope", "--version"),
    "gyro --help": ("-m", "gyroscope", "--help"),
    "import gyroscope.serve.app": ("-c", "import gyroscope.serve.app"),
}
RUNS = 11


def start_time(arguments: Sequence[str]) -> float:
    """Seconds from the start of a Python process to its end.

    Raises:
        subprocess.CalledProcessError: the process failed.
    """
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def measure(runs: int) -> dict[str, list[float]]:
    """Seconds of each start, ``runs`` times; in turns, so that a busy moment meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for arguments in STARTS.values():
        start_time(arguments)  # byte code and file cache, not counted
    for _ in range(runs):
        for name, arguments in STARTS.items():
            times[name].append(start_time(arguments))
    return times


def main() -> None:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    times = measure(runs)
    floor = statistics.median(times[FLOOR])
    print(f"Start times, Python {sys.version.split()[0]}, {runs} runs each\n")
    print(f"{'':28}{'median':>9}{'fastest':>9}{'slowest':>9}{'ratio':>7}")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        numbers = (median, min(seconds), max(seconds))
        columns = "".join(f"{1000 * number:6.0f} ms" for number in numbers)
        print(f"{name:28}{columns}{median / floor:7.1f}")


if __name__ == "__main__":
    main()
