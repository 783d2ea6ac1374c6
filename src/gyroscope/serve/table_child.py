"""The process that reads tables: ``python -m gyroscope.serve.table_child MOST_BYTES``.

It reads from its standard input until that ends, as it does when the server is gone.
"""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

import msgspec

from gyroscope.errors import RequestError
from gyroscope.serve.table_bodies import table_rows
from gyroscope.serve.table_reader import Outcome, Table, receive, send

_COPIES = 4  # of a table: its bytes, Arrow's arrays, Python's values, the message
_ROOM = 64 << 20  # bytes besides


def main() -> None:
    """Read tables until nobody sends any more."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401  before the limit: libraries take address space

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the server as well
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit_memory(_COPIES * int(sys.argv[1]) + _ROOM)
    while data := receive(sys.stdin.buffer):
        send(sys.stdout.buffer, _outcome(msgspec.msgpack.decode(data, type=Table)))


def _limit_memory(more: int) -> None:
    """Let the process take ``more`` bytes of address space beyond what it has, on Linux."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        most = int(statm.read_text().split()[0]) * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _outcome(table: Table) -> Outcome:
    try:
        rows, problems = table_rows(
            table.body,
            table.kind,
            table.contract,
            most_rows=table.most_rows,
            most_bytes=table.most_bytes,
        )
    except RequestError as error:
        problems = list(error.problems)
        return Outcome(status=error.status, message=str(error), problems=problems)
    return Outcome(rows=rows, problems=problems)


if __name__ == "__main__":
    main()
