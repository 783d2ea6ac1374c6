"""Where compacted rows lie: Parquet files by kind, model and day, replaced only as a whole.

``predictions/model=churn/day=2026-03-01/part-00000.parquet`` holds predictions with that event day,
``labels/...`` labels that arrived on that day, in UTC. Each file names the segments whose rows of
its kind and day it has taken over. So a segment and the files made of it may lie there at once, as
when a compaction was killed: whoever reads the segment leaves out what the files have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gyroscope.errors import LogError
from gyroscope.prediction_log.moments import day_name, day_number
from gyroscope.prediction_log.table import (
    LABELS,
    PREDICTIONS,
    Description,
    Kind,
    decoded_description,
)

if TYPE_CHECKING:
    import pyarrow.parquet as pq

KINDS: tuple[Kind[Any], ...] = (PREDICTIONS, LABELS)

_PART_NAME = re.compile(r"part-\d{5,}\.parquet")
_DAY_NAME = re.compile(r"day=(\d{4}-\d\d-\d\d)")


class MovedError(Exception):
    """A file is no longer what it was when it was listed: look again."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One Parquet file as it was listed."""

    path: Path
    kind: Kind[Any]
    day: int  # days since 1970
    number: int  # among the parts of the day, from 0
    inode: int
    size: int  # bytes
    changed_ns: int

    def open(self) -> pq.ParquetFile:
        """The file, to be read and closed.

        Raises:
            MovedError: it was replaced or removed meanwhile.
            LogError: it is damaged or cannot be read.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(self.path, page_checksum_verification=True)
            state = self.path.stat()
        except FileNotFoundError:
            raise MovedError(self.path) from None
        except (OSError, pa.ArrowException) as error:
            raise unreadable(self.path, error) from error
        if (state.st_ino, state.st_size, state.st_mtime_ns) != self._identity:
            file.close()
            raise MovedError(self.path)
        return file

    @property
    def _identity(self) -> tuple[int, int, int]:
        return self.inode, self.size, self.changed_ns

    def description(self, file: pq.ParquetFile) -> Description:
        """What the table says of itself; raises LogError."""
        return decoded_description(file.metadata.metadata, str(self.path))


def unreadable(path: Path, error: Exception) -> LogError:
    """The error for a Parquet file that cannot be read."""
    return LogError(
        f"{path} cannot be read ({error}): restore it from a backup, or move it away to go on "
        "without its rows"
    )


def list_parts(folder: Path) -> list[Part]:
    """The Parquet files of a log, by kind, day and number; raises OSError."""
    return [
        part for kind in KINDS for path in _days(folder, kind) for part in _parts_of(path, kind)
    ]


def day_folder(folder: Path, kind: Kind[Any], day: int) -> Path:
    """Where the files of a day lie; the log's folder is named after the model."""
    return folder / kind.name / f"model={folder.resolve().name}" / f"day={day_name(day)}"


def part_name(number: int) -> str:
    """The file name of a part."""
    return f"part-{number:05d}.parquet"


def _days(folder: Path, kind: Kind[Any]) -> Iterator[Path]:
    for model in sorted(_entries(folder / kind.name)):
        if model.name.startswith("model="):
            yield from sorted(path for path in _entries(model) if _DAY_NAME.fullmatch(path.name))


def _parts_of(folder: Path, kind: Kind[Any]) -> Iterator[Part]:
    match = _DAY_NAME.fullmatch(folder.name)
    assert match is not None
    for path in sorted(_entries(folder)):
        if _PART_NAME.fullmatch(path.name):
            with suppress(FileNotFoundError):
                state = path.stat()
                yield Part(
                    path=path,
                    kind=kind,
                    day=day_number(match[1]),
                    number=int(path.stem.removeprefix("part-")),
                    inode=state.st_ino,
                    size=state.st_size,
                    changed_ns=state.st_mtime_ns,
                )


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []
