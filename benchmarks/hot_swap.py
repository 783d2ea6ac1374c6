"""How long a rollback takes, from the call to the first answer of the previous version.

python -m benchmarks.hot_swap [ROLLBACKS]

A server and a pilot run as `gyro up` starts them. A client, a process of its own, asks for a
prediction every few milliseconds and fails if one is refused; this process has the workspace open
and rolls back, as `gyro rollback` does.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from gyroscope.loop.manual import promote, roll_back
from gyroscope.loop.world import World
from gyroscope.serve.address import read_address
from gyroscope.testing.small_workspace import MODEL, register, small_workspace
from gyroscope.testing.worlds import CALM, tiny_bundle

ROLLBACKS = 20
_PAUSE_S = 0.002  # of the client, between two predictions
_SETTLE_S = 1.0  # for the pilot, after a promotion: it looks at what has changed
_REST_S = 5.0  # for which the work of the server at rest is measured


def first_answer(port: int, version: int) -> float:
    """When a version first answers, in the clock of time.monotonic, which processes share.

    Raises:
        RuntimeError: a prediction was refused.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    asked = json.dumps({"row": CALM.events(0, 1)[0].row}).encode()
    answer: dict[str, Any] = {}
    while answer.get("version") != version:
        time.sleep(_PAUSE_S)
        kind = {"content-type": "application/json"}
        connection.request("POST", f"/v1/models/{MODEL}/predict", asked, kind)
        answer = json.loads(connection.getresponse().read())
        if "version" not in answer:
            raise RuntimeError(f"a request failed while versions changed: {answer}")
    connection.close()
    return time.monotonic()


def measure(world: World, port: int, rollbacks: int) -> tuple[list[float], list[float]]:
    """Seconds from each call until it returns, and until the previous version answers."""
    returned, served = [], []
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as client:
        for _ in range(rollbacks):
            promote(world, MODEL, 2, actor="benchmark", reason="to be taken back")
            client.submit(first_answer, port, 2).result()
            answered = client.submit(first_answer, port, 1)
            time.sleep(_SETTLE_S)
            began = time.monotonic()
            roll_back(world, MODEL, actor="benchmark", reason="measured")
            returned.append(time.monotonic() - began)
            served.append(answered.result() - began)
    return returned, served


def at_rest(pid: int) -> float:
    """The share of a core that a process works while nobody asks anything of it."""

    def worked() -> float:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = worked()
    time.sleep(_REST_S)
    return (worked() - before) / _REST_S


def main() -> None:
    """Print the table."""
    rollbacks = int(sys.argv[1]) if len(sys.argv) > 1 else ROLLBACKS
    with tempfile.TemporaryDirectory() as folder:
        space = small_workspace(Path(folder))
        for noise in (0.0, 0.01):
            register(space.world, tiny_bundle(noise=noise))
        promote(space.world, MODEL, 1, actor="benchmark", reason="the first")
        up = subprocess.Popen(space.command("up"), stdout=subprocess.DEVNULL)
        try:
            while (address := read_address(space.state)) is None:
                time.sleep(_PAUSE_S)
            returned, served = measure(space.world, address.port, rollbacks)
            rest = at_rest(address.pid)
        finally:
            up.terminate()
            up.wait()
        space.close()
    print(f"{f'{rollbacks} rollbacks, milliseconds':40}{'median':>8}{'best':>8}{'worst':>8}")
    for name, seconds in (
        ("until the call returns", returned),
        ("until the previous version answers", served),
    ):
        of = (statistics.median(seconds), min(seconds), max(seconds))
        print(f"{name:40}" + "".join(f"{1000 * s:8.1f}" for s in of))
    print(f"\nload of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"the server at rest takes {100 * rest:.2f} % of a core")


if __name__ == "__main__":
    main()
