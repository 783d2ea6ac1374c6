"""A job's process in the tests: does what the job's id says."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from gyroscope.loop.base import Outcome
from gyroscope.loop.traces import write_outcome


def work(kind: str, folder: Path) -> dict[str, Any]:
    if kind == "exit":
        sys.stdout.write("loading rows\n")
        sys.stderr.write("column age: expected a number\n")
        sys.exit(3)
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "memory":
        raise MemoryError
    if kind == "nothing":
        os._exit(0)
    if kind == "wait":  # until the test lets go; with a child of its own
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        (folder / "started").write_text(str(child.pid))
        (folder / "gate").read_bytes()  # a named pipe: blocks until it is written to
        child.kill()
        child.wait()
    return {"niceness": os.nice(0), "session": os.getsid(0), "token": uuid.uuid4().hex}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--job")
    parser.add_argument("--result", type=Path)
    given = parser.parse_args()
    kind = given.job.split("-")[0]
    if kind == "refuse":
        outcome = Outcome(error="no rows in window 2026-03-01..2026-03-08")
    else:
        outcome = Outcome(result={"job": given.job, **work(kind, given.folder)})
    write_outcome(given.result, outcome)


if __name__ == "__main__":
    main()
