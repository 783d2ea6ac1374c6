"""From segments to Parquet files of a day each: every step leaves a log that reads the same.

1. Segments are sealed: their writers begin others.
2. For each kind and day with rows in them, the last file of that day, or a new one, is written
   anew beside the old with the rows added and the segments named as taken over, and takes its
   place by one rename.
3. The segments are removed.

Killed between any two of these, readers leave out of a segment what the files of a day have taken
over, and the next compaction goes on from there. A segment with damage stays, for whoever can
repair it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from gyroscope.data.files import sync_path
from gyroscope.errors import LogError
from gyroscope.prediction_log.catalog import segment_sizes
from gyroscope.prediction_log.moments import DAY_US, microseconds
from gyroscope.prediction_log.parts import (
    KINDS,
    Part,
    day_folder,
    list_parts,
    part_name,
    unreadable,
)
from gyroscope.prediction_log.reader import SegmentReader
from gyroscope.prediction_log.spool import PARTIAL, carry_home
from gyroscope.prediction_log.table import Description, Kind, extended, schema, table_of
from gyroscope.prediction_log.writer import make_folder, seal

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS_PER_GROUP = 20_000  # a window is read by whole row groups

_SEGMENT_BYTES_AT_ONCE = 128 * 2**20  # whose index is in memory at a time
_PART_BYTES = 64 * 2**20  # a file of a day that has reached this size is followed by the next


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction has done."""

    segments: int = 0  # taken over and removed
    rows: int = 0  # predictions and labels written to Parquet files
    files: int = 0  # Parquet files written
    left: int = 0  # segments that stay: damaged, or in the middle of an append
    expired_files: int = 0  # Parquet files removed since all their rows are too old


def compact(
    folder: Path,
    *,
    spool: Path | None = None,
    part_bytes: int = _PART_BYTES,
    damaged_too: bool = False,
) -> Compacted:
    """Take all segments of a log over into Parquet files.

    One process at a time may do that for a folder; writers and readers go on meanwhile.

    Args:
        folder: of the log; nothing happens if it is not there.
        spool: of the log, which is carried home first.
        part_bytes: a file of a day that has reached this size is followed by the next.
        damaged_too: take over what can be read of damaged segments, and remove them as well.

    Raises:
        LogError: a file cannot be read or written; what was done until then counts.
    """
    total = Compacted()
    try:
        remove_partials(folder)
        if spool is not None:
            carry_home(spool, folder)
        for names in _batches(segment_sizes(folder)):
            sealed = {name for name in names if _sealed(folder / name)}
            total = _added(total, _take_over(folder, sealed, part_bytes, damaged_too))
            total = _added(total, Compacted(left=len(names) - len(sealed)))
    except OSError as error:
        raise LogError(
            f"the prediction log in {folder} cannot be compacted ({error}): see that its disk has "
            "space and may be written; nothing is lost, the next compaction goes on from here"
        ) from error
    return total


def expire(folder: Path, before: datetime) -> Compacted:
    """Remove the Parquet files of all days that ended at or before a time.

    Predictions count by event time, labels by arrival; rows still in segments stay.

    Raises:
        LogError: a file cannot be removed.
    """
    removed = 0
    try:
        for part in list_parts(folder):
            if (part.day + 1) * DAY_US <= microseconds(before):
                remove_part(part)
                removed += 1
        if removed:
            os.utime(folder)  # tells readers to look again
    except OSError as error:
        raise LogError(f"old records in {folder} cannot be removed: {error}") from error
    return Compacted(expired_files=removed)


def remove_partials(folder: Path) -> None:
    """Remove what a killed compaction has left half written."""
    for kind in KINDS:
        for path in (folder / kind.name).glob(f"*/*/*{PARTIAL}"):
            path.unlink()
    for path in folder.glob(f".*{PARTIAL}"):  # of a spool; whoever carries it home tries again
        path.unlink(missing_ok=True)


def remove_part(part: Part) -> None:
    """Remove a Parquet file, and the folder of its day with the last one."""
    part.path.unlink()
    sync_path(part.path.parent)
    with suppress(OSError):  # there are others
        part.path.parent.rmdir()


class PartWriter:
    """Writes a Parquet file beside the one it shall replace, with row groups of an even size.

    A context manager: unless it was committed nothing is left of it.
    """

    def __init__(self, path: Path, kind: Kind[Any], described: Description) -> None:
        import pyarrow.parquet as pq

        self._path = path
        self._partial = path.with_name(path.name + PARTIAL)
        self.schema = schema(kind, described)
        make_folder(path.parent)
        self._file: pq.ParquetWriter = pq.ParquetWriter(
            self._partial, self.schema, compression="zstd", write_page_checksum=True
        )
        self._waiting: list[pa.Table] = []
        self.rows = 0

    def add(self, table: pa.Table) -> None:
        """Add rows; fields that the table does not have are null."""
        import pyarrow as pa

        columns = [
            table.column(field.name)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in self.schema
        ]
        self._waiting.append(pa.table(columns, schema=self.schema))
        self.rows += table.num_rows
        if sum(waiting.num_rows for waiting in self._waiting) >= ROWS_PER_GROUP:
            self._flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._partial.exists():
            with suppress(OSError):  # the disk may be full
                self._file.close()
            self._partial.unlink()

    def commit(self) -> None:
        """Put the file in its place, on disk when it returns."""
        self._flush()
        self._file.close()
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())
        self._partial.replace(self._path)
        sync_path(self._path.parent)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._file.write_table(pa.concat_tables(self._waiting), row_group_size=ROWS_PER_GROUP)
            self._waiting = []


def tables_of(part: Part, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The row groups of a Parquet file, one at a time, all columns if None; raises LogError."""
    import pyarrow as pa

    with part.open() as file:
        for group in range(file.num_row_groups):
            try:
                yield file.read_row_group(group, columns=columns)
            except (OSError, pa.ArrowException) as error:
                raise unreadable(part.path, error) from error


def description_of(part: Part) -> Description:
    """What a Parquet file says of itself; raises LogError."""
    with part.open() as file:
        return part.description(file)


def _batches(sizes: dict[str, int]) -> Iterator[list[str]]:
    """Names of segments, in order, of about so many bytes together as may be indexed at once."""
    begun = 0

    def batch_of(name: str) -> int:
        nonlocal begun
        begun += sizes[name]
        return begun // _SEGMENT_BYTES_AT_ONCE

    for _, names in groupby(sorted(sizes), batch_of):
        yield list(names)


def _sealed(path: Path) -> bool:
    try:
        return seal(path)
    except FileNotFoundError:  # its writer could not write and removed it
        return False


def _take_over(folder: Path, names: set[str], part_bytes: int, damaged_too: bool) -> Compacted:
    """Write the rows of sealed segments to Parquet files, then remove the segments."""
    damaged: set[str] = set()
    if not damaged_too:
        damaged = {Path(d.file).name for d in SegmentReader(folder, names).damage()}
    names = names - damaged
    if not names:
        return Compacted(left=len(damaged))
    reader = SegmentReader(folder, names)
    parts = list_parts(folder)
    alive = frozenset(segment_sizes(folder))
    rows = files = 0
    for kind in KINDS:
        of_kind = [part for part in parts if part.kind is kind]
        for day in reader.days(kind):
            base = _base(folder, kind, day, of_kind, part_bytes)
            described = msgspec.structs.replace(
                base.described, segments=(base.described.segments & alive) | names
            )
            rows += _add_to_day(reader, kind, day, base, described)
            files += 1
    for name in names:
        (folder / name).unlink(missing_ok=True)  # its writer may have removed an empty one
    sync_path(folder)
    return Compacted(segments=len(names), rows=rows, files=files, left=len(damaged))


class _Base(msgspec.Struct, frozen=True, kw_only=True):
    """What new rows of a day are added to."""

    path: Path
    described: Description
    part: Part | None = None  # the file that is there already


def _base(folder: Path, kind: Kind[Any], day: int, parts: Sequence[Part], part_bytes: int) -> _Base:
    """The last file of a day if it is not full, else the next, with columns as they were last."""
    of_day = [part for part in parts if part.day == day]
    if of_day and of_day[-1].size < part_bytes:
        last = of_day[-1]
        return _Base(path=last.path, described=description_of(last), part=last)
    fields = description_of(parts[-1]).fields if parts else ()
    number = of_day[-1].number + 1 if of_day else 0
    path = day_folder(folder, kind, day) / part_name(number)
    return _Base(path=path, described=Description(fields=fields))


def _add_to_day(
    reader: SegmentReader, kind: Kind[Any], day: int, base: _Base, described: Description
) -> int:
    """Write the file of a day with the rows that segments have for it; how many they were."""
    for rows, _ in reader.of_day(kind, day, ROWS_PER_GROUP):
        described = extended(described, kind, rows)
    added = 0
    with PartWriter(base.path, kind, described) as writer:
        for table in tables_of(base.part) if base.part else ():
            writer.add(table)
        for rows, places in reader.of_day(kind, day, ROWS_PER_GROUP):
            writer.add(table_of(kind, described, rows, places))
            added += len(rows)
        writer.commit()
    return added


def _added(one: Compacted, other: Compacted) -> Compacted:
    sums = {name: getattr(one, name) + getattr(other, name) for name in Compacted.__struct_fields__}
    return Compacted(**sums)
