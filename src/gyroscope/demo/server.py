"""The real server and pilot, in processes of their own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gyroscope.app import Workspace
from gyroscope.client import Client
from gyroscope.errors import GyroscopeError
from gyroscope.serve.address import read_address

_START_S = 60.0
_LOOK_S = 0.05


@contextmanager
def running(space: Workspace, *, keep: bool) -> Iterator[Client]:
    """``gyro up`` on a free port, stopped at the end unless it ended well and ``keep`` is set.

    Raises:
        GyroscopeError: the server does not start.
    """
    log = space.state / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            space.command("up"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ended_well = False
    try:
        with Client(_url(space, process, log)) as client:
            yield client
        ended_well = True
    finally:
        if not (keep and ended_well):
            process.terminate()
            process.wait()


def _url(space: Workspace, process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        address = read_address(space.state)
        if address is not None:
            return f"http://{address.host}:{address.port}"
        if process.poll() is not None:
            break
        time.sleep(_LOOK_S)
    raise GyroscopeError(f"the server did not start; it said: {log.read_text()[-500:]}")
