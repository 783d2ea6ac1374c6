"""What is in the files of a folder and where; kept up to date by scanning only new bytes."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np

from gyroscope.errors import LogError
from gyroscope.prediction_log.index import Batch, Column, Integers, RowArrays, Rows, keys_of
from gyroscope.prediction_log.moments import DAY_US, microseconds
from gyroscope.prediction_log.parts import MovedError, Part, list_parts, unreadable
from gyroscope.prediction_log.records import PredictionHead, RecordHead, Schema, decode_head
from gyroscope.prediction_log.segments import (
    HEADER_BYTES,
    MARKER_BYTES,
    Damage,
    Frame,
    Scan,
    header,
    marker_of,
    scan,
)
from gyroscope.prediction_log.table import LABELS, PREDICTIONS, Description, Kind

if TYPE_CHECKING:
    import pyarrow as pa

_SEGMENT_NAME = re.compile(r"\d{20}-[A-Za-z0-9_]+-[0-9a-f]{8}\.segment")
_NEVER = -1
_TICK_NS = 1_000_000_000  # changes closer together than this may have one time on a file system
_TRIES = 20  # looks at a folder whose files change places meanwhile

_logger = logging.getLogger(__name__)


class Records:
    """Where the records are, numbered in the order they were found.

    A record is a frame of a segment, or a row group of a part: its offset is then the number of the
    row group, its length the rows, and its checksum 0, as Parquet has its own.
    """

    def __init__(self) -> None:
        self.files = Column()  # numbers of segments and parts
        self.offsets = Column()  # of payloads, bytes from the start of the file
        self.lengths = Column()  # of payloads, bytes
        self.checksums = Column()  # of payloads, CRC-32

    def __len__(self) -> int:
        return len(self.files.values)

    def extend(self, file: int, frames: Sequence[Frame]) -> None:
        """Add the frames of a segment, in the order written."""
        self.files.extend([file] * len(frames))
        self.offsets.extend([frame.offset for frame in frames])
        self.lengths.extend([frame.length for frame in frames])
        self.checksums.extend([frame.checksum for frame in frames])

    def add_row_group(self, file: int, number: int, rows: int) -> None:
        """Add a row group of a part."""
        self.files.extend([file])
        self.offsets.extend([number])
        self.lengths.extend([rows])
        self.checksums.extend([0])


class Segment:
    """What is known of one segment."""

    def __init__(self, path: Path, number: int, origin: int) -> None:
        self.path = path
        self.number = number  # among the files, in the order found
        self.origin = origin  # number of its name
        self.size = 0  # bytes looked at
        self.end = 0  # bytes up to the last whole append, where to go on
        self.marker = b""
        self.damage: list[Damage] = []
        self.tail_damage: list[Damage] = []
        self.rows = {PREDICTIONS.name: 0, LABELS.name: 0}  # seen so far


class Catalog:
    """The records of a folder's segments and parts, and an index of their rows.

    Args:
        folder: of the log.
        segments: names of the only ones to look at, without the rows of parts; everything if None.
    """

    def __init__(self, folder: Path, segments: Collection[str] | None = None) -> None:
        self._folder = folder
        self._only = segments
        self._forget([])

    def _forget(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._listed_ns = _NEVER  # the folder's time of change when its parts were listed last
        self._segments: dict[str, Segment] = {}
        self._files: list[Segment | Part] = []
        self._origins: dict[str, int] = {}  # numbers of names of segments
        self._taken_over: dict[tuple[str, int], set[str]] = {}  # names, by kind and day of parts
        self._described: dict[Part, Description] = {}
        self.records = Records()
        self.predictions = Rows()
        self.labels = Rows()
        self.schemas: dict[bytes, tuple[str, ...]] = {}  # column names by key

    def file(self, number: int) -> Segment | Part:
        """A file by its number."""
        return self._files[number]

    def description(self, part: Part) -> Description:
        """What an indexed part says of itself."""
        return self._described[part]

    def origin_names(self) -> list[str]:
        """The names of the segments that rows were first written to, by number."""
        return list(self._origins)

    def origin_ranks(self) -> Integers:
        """For each of these names its rank, that is by creation."""
        ranks = np.empty(len(self._origins), dtype=np.int64)
        for rank, name in enumerate(sorted(self._origins)):
            ranks[self._origins[name]] = rank
        return ranks

    def damage(self) -> tuple[Damage, ...]:
        """What cannot be read of the segments, in order of segments and offsets."""
        return tuple(
            damage
            for name in sorted(self._segments)
            for damage in self._segments[name].damage + self._segments[name].tail_damage
        )

    def forget(self) -> None:
        """Look at everything again the next time."""
        self._forget([])

    def refresh(self) -> None:
        """Take in what was written since the last time.

        Raises:
            LogError: a file cannot be opened, or has a format of another release.
        """
        for _ in range(_TRIES):
            try:
                self._look()
            except MovedError:
                self._forget([])
            except OSError as error:
                raise LogError(
                    f"the prediction log in {self._folder} cannot be read ({error}): "
                    "see that this user may read it and that its disk is sound"
                ) from error
            else:
                return
        raise LogError(
            f"the prediction log in {self._folder} cannot be read: its files keep changing places; "
            "see what moves them"
        )

    def _look(self) -> None:
        # Segments first: one that is gone when its turn comes was taken over by a part that was
        # there before, and the other way round its rows would be missed.
        sizes = segment_sizes(self._folder)
        if self._only is not None:
            sizes = {name: size for name, size in sizes.items() if name in self._only}
        vanished = any(sizes.get(name, 0) < known.end for name, known in self._segments.items())
        changed_ns = _changed_ns(self._folder)
        if vanished or changed_ns != self._listed_ns:
            parts = list_parts(self._folder)
            if vanished or parts != self._parts:
                self._take_in_parts(parts)  # what is known is no longer so
            is_settled = time.time_ns() - changed_ns > _TICK_NS
            self._listed_ns = changed_ns if is_settled else _NEVER
        for name in sorted(sizes):
            segment = self._segments.get(name) or self._add(name)
            if sizes[name] > segment.size:
                try:
                    self._catch_up(segment)
                except FileNotFoundError:
                    raise MovedError(segment.path) from None

    def _origin(self, name: str) -> int:
        return self._origins.setdefault(name, len(self._origins))

    # -- parts ----------------------------------------------------------------------------------

    def _take_in_parts(self, parts: Sequence[Part]) -> None:
        self._forget(parts)
        try:
            for part in parts:
                self._take_in_part(part)
        except BaseException:
            self._forget([])  # or half of them would pass for all
            raise

    def _take_in_part(self, part: Part) -> None:
        import pyarrow as pa

        with part.open() as file:
            described = part.description(file)
            taken_over = self._taken_over.setdefault((part.kind.name, part.day), set())
            taken_over |= described.segments
            if self._only is not None:
                return
            number = len(self._files)
            self._files.append(part)
            self._described[part] = described
            rows = self.predictions if part.kind is PREDICTIONS else self.labels
            columns = [part.kind.id_column, "time", "arrival", "segment", "place"]
            try:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=columns)
                    record = len(self.records)
                    self.records.add_row_group(number, group, table.num_rows)
                    rows.extend(self._rows_of_group(part.kind, table, record))
            except (OSError, pa.ArrowException) as error:
                raise unreadable(part.path, error) from error

    def _rows_of_group(self, kind: Kind[Any], table: pa.Table, record: int) -> RowArrays:
        import pyarrow as pa

        names = table.column("segment").combine_chunks().dictionary_encode()
        origins = np.array(
            [self._origin(name) for name in names.dictionary.to_pylist()], dtype=np.int64
        )
        return RowArrays(
            keys=keys_of(table.column(kind.id_column).to_pylist()),
            times=table.column("time").cast(pa.int64()).to_numpy(),
            arrivals=table.column("arrival").cast(pa.int64()).to_numpy(),
            records=np.full(table.num_rows, record, dtype=np.int64),
            positions=np.arange(table.num_rows),
            origins=origins[names.indices.to_numpy()],
            places=table.column("place").to_numpy(),
        )

    # -- segments -------------------------------------------------------------------------------

    def _add(self, name: str) -> Segment:
        segment = Segment(self._folder / name, len(self._files), self._origin(name))
        self._segments[name] = segment
        self._files.append(segment)
        return segment

    def _catch_up(self, segment: Segment) -> None:
        with segment.path.open("rb") as file:
            if segment.end == 0:
                _read_header(segment, file)
            if not segment.marker:
                return  # its writer was killed or has not written the header yet
            start = max(segment.end, HEADER_BYTES)
            file.seek(start)
            data = file.read()
        found = scan(data, start, segment.marker, str(segment.path))
        heads = (_head(data, start, frame, segment.path) for frame in found.frames)
        self._take_in(segment, found, heads)
        segment.size = start + len(data)

    def _take_in(self, segment: Segment, found: Scan, heads: Iterable[RecordHead]) -> None:
        batches = {name: Batch(segment.origin, rows) for name, rows in segment.rows.items()}
        is_taken_over = any(segment.path.name in names for names in self._taken_over.values())
        for number, head in enumerate(heads, start=len(self.records)):
            if isinstance(head, Schema):
                self.schemas[head.key] = head.columns
                continue
            kind = (PREDICTIONS if isinstance(head, PredictionHead) else LABELS).name
            kept = self._left(segment, kind, head) if is_taken_over else None
            batches[kind].add(number, head, kept)
        self.records.extend(segment.number, found.frames)
        self.predictions.extend(batches[PREDICTIONS.name].arrays())
        self.labels.extend(batches[LABELS.name].arrays())
        segment.rows = {name: batch.next_place for name, batch in batches.items()}
        segment.damage += found.damage
        segment.tail_damage = found.tail_damage
        if found.frames:
            segment.end = found.end
        for damage in found.damage + found.tail_damage:
            _logger.warning("lost records: %s", damage)

    def _left(self, segment: Segment, kind: str, head: Any) -> list[int]:
        """Positions of the rows of a record that no part has taken over."""
        times = head.times if kind == PREDICTIONS.name else head.arrivals
        return [
            i
            for i, time in enumerate(times)
            if segment.path.name
            not in self._taken_over.get((kind, microseconds(time) // DAY_US), ())
        ]


def _changed_ns(folder: Path) -> int:
    """When a file came into a folder or left it last: every compaction ends with that."""
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def segment_sizes(folder: Path) -> dict[str, int]:
    """The segments in a folder and their bytes, none if it is not there; raises OSError."""
    sizes: dict[str, int] = {}
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return sizes
    for path in paths:
        if _SEGMENT_NAME.fullmatch(path.name):
            with suppress(FileNotFoundError):  # its writer could not write and removed it
                sizes[path.name] = path.stat().st_size
    return sizes


def _read_header(segment: Segment, file: BinaryIO) -> None:
    start = file.read(HEADER_BYTES + MARKER_BYTES)
    marker = marker_of(start, str(segment.path))
    if marker is None:
        return
    segment.marker = marker
    if start[:HEADER_BYTES] != header(marker):
        segment.damage = [Damage(file=str(segment.path), offset=0, length=HEADER_BYTES)]


def _head(data: bytes, start: int, frame: Frame, path: Path) -> RecordHead:
    try:
        return decode_head(data[frame.offset - start : frame.end - start])
    except msgspec.MsgspecError as error:
        raise LogError(
            f"{path}, offset {frame.offset}: a record of an unknown kind ({error}): "
            "use the release that wrote it, or a later one"
        ) from None
