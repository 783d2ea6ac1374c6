"""Appends in a tight loop and prints each id once it is acknowledged: a program for tests to kill.

Usage: appender.py FOLDER PREFIX APPENDS ROWS_PER_APPEND [fsync] [fork]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gyroscope.prediction_log import FileLog
from gyroscope.testing.prediction_log import label, prediction


def append(log: FileLog, prefix: str, appends: int, rows: int) -> None:
    """Append predictions, and with every fifth of them their labels."""
    for number in range(appends):
        names = [f"{prefix}-{number}-{row}" for row in range(rows)]
        log.append([prediction(name, hour=number, row={"text": name * 9}) for name in names])
        sys.stdout.write("".join(f"{name}\n" for name in names))
        sys.stdout.flush()
        if number % 5 == 0:
            log.append_labels([label(name, name) for name in names])


def main(folder: str, prefix: str, appends: str, rows: str, *options: str) -> None:
    """Append alone, or on both sides of a fork."""
    log = FileLog(Path(folder), fsync="fsync" in options, segment_bytes=50_000)
    if "fork" in options:
        append(log, "before", int(appends), int(rows))
        child = os.fork()
        append(log, prefix + ("-parent" if child else "-child"), int(appends), int(rows))
        if child:
            os.waitpid(child, 0)
    else:
        append(log, prefix, int(appends), int(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
