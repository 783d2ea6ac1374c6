"""Results of a long job, kept in chunks until all are there, so that a killed job goes on."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from gyroscope.data.files import write_atomically


class _Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What the chunks in a folder are of."""

    job: str  # new for each job, the same when it goes on
    inputs: dict[str, str | int]  # all that the results depend on


class Chunks:
    """The chunks of one job in ``folder``: those of a killed job with the same ``inputs``, or none.

    A chunk is an Arrow table, whole or not there at all. Only one process may use the folder.
    """

    def __init__(self, folder: Path, inputs: dict[str, str | int]) -> None:
        self.folder = folder
        plan = _read(folder / "plan.json")
        if plan is None or plan.inputs != inputs:
            shutil.rmtree(folder, ignore_errors=True)
            plan = _Plan(job=uuid.uuid4().hex, inputs=inputs)
            write_atomically(folder / "plan.json", msgspec.json.encode(plan))
        self.job = plan.job

    def __contains__(self, number: int) -> bool:
        return self._path(number).exists()

    def write(self, number: int, table: Any) -> None:
        """Keep a chunk; raises OSError."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        write_atomically(self._path(number), sink.getvalue().to_pybytes())

    def tables(self, n: int) -> Iterator[Any]:
        """The first ``n`` chunks, in order."""
        import pyarrow.parquet as pq

        for number in range(n):
            with pq.ParquetFile(self._path(number)) as file:
                yield file.read()

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.parquet"


def _read(path: Path) -> _Plan | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Plan)
    except (OSError, msgspec.MsgspecError):
        return None
