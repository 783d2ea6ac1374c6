"""Reading tables in a process of its own, which may die of them.

Arrow is not made for bytes of strangers: some spoilt files make it abort, some small ones unpack
to more than the machine has. So a child reads them, with little memory and little time. It also
leaves the server's interpreter free meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Timer
from typing import IO

import msgspec

from gyroscope.data.contract import Contract
from gyroscope.errors import FieldProblem, RequestError
from gyroscope.model import Value
from gyroscope.serve.http import Limits

_LONGEST_S = 30.0  # for one table; the first waits for Arrow to be imported, too
MOST_WAITING = 8  # tables of one server; more would fill its memory and wait too long
_LENGTH = struct.Struct("<Q")


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """What the child is to read."""

    body: bytes
    kind: str
    contract: Contract
    most_rows: int
    most_bytes: int


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What it found: rows, or why there are none."""

    rows: list[dict[str, Value]] = []
    problems: list[FieldProblem] = []
    status: int = 200
    message: str = ""


def send(stream: IO[bytes], message: Table | Outcome) -> None:
    """Write a message with its length; raises OSError."""
    data = msgspec.msgpack.encode(message)
    stream.write(_LENGTH.pack(len(data)))
    stream.write(data)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes:
    """The next message; empty at the end of the stream."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return b""
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return data if len(data) == length else b""


class TableReader:
    """Reads one table after the other; the child is started for the first, and after each death."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tables")
        self._child: subprocess.Popen[bytes] | None = None
        self._waiting = 0  # tables that are read, or are to be

    async def read(
        self, body: bytes, kind: str, contract: Contract, limits: Limits
    ) -> tuple[list[dict[str, Value]], list[FieldProblem]]:
        """The rows of a table, and what is wrong with them.

        Raises:
            RequestError: 400 not readable, 413 too large, 422 no rows, 503 too many at once.
        """
        if self._waiting >= MOST_WAITING:
            raise RequestError(503, f"{MOST_WAITING} tables are being read already: try again")
        table = Table(
            body=body,
            kind=kind,
            contract=contract,
            most_rows=limits.rows,
            most_bytes=limits.unpacked_bytes,
        )
        loop = asyncio.get_running_loop()
        self._waiting += 1
        try:
            outcome = await loop.run_in_executor(self._thread, self._read, table)
        finally:
            self._waiting -= 1
        if outcome.status != 200:
            raise RequestError(outcome.status, outcome.message, outcome.problems)
        return outcome.rows, outcome.problems

    def close(self) -> None:
        """End the child."""
        self._thread.shutdown()
        self._end()

    def _read(self, table: Table) -> Outcome:
        child = self._child
        if child is None or child.poll() is not None:
            self._end()
            child = self._child = _started(table.most_bytes)
        assert child.stdin is not None
        assert child.stdout is not None
        timer = Timer(_LONGEST_S, child.kill)
        timer.start()
        try:
            send(child.stdin, table)
            answer = receive(child.stdout)
        except OSError:
            answer = b""
        finally:
            timer.cancel()
        if answer:
            return msgspec.msgpack.decode(answer, type=Outcome)
        self._end()
        message = "the table cannot be read: it is damaged, or unpacks to far more than it should"
        return Outcome(status=400, message=message)

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what it had not read yet
                    stream.close()


def _started(most_bytes: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "gyroscope.serve.table_child", str(most_bytes)]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # Arrow's last words may quote values
    )
