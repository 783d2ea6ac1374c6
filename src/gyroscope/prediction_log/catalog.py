"""What is in the segments of a folder and where; kept up to date by scanning only new bytes."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from gyroscope.errors import LogError
from gyroscope.prediction_log.index import Batch, Column, Integers, Rows
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

_SEGMENT_NAME = re.compile(r"\d{20}-[A-Za-z0-9_]+-[0-9a-f]{8}\.segment")

_logger = logging.getLogger(__name__)


class Records:
    """Where the records are, numbered in the order they were found."""

    def __init__(self) -> None:
        self.segments = Column()  # numbers of segments
        self.offsets = Column()  # of payloads, bytes from the start of the file
        self.lengths = Column()  # of payloads, bytes
        self.checksums = Column()  # of payloads, CRC-32

    def __len__(self) -> int:
        return len(self.segments.values)

    def extend(self, segment: int, frames: Sequence[Frame]) -> None:
        """Add the frames of a segment, in the order written."""
        self.segments.extend([segment] * len(frames))
        self.offsets.extend([frame.offset for frame in frames])
        self.lengths.extend([frame.length for frame in frames])
        self.checksums.extend([frame.checksum for frame in frames])


class _Segment:
    """What is known of one file."""

    def __init__(self, path: Path, number: int) -> None:
        self.path = path
        self.number = number  # in the order found
        self.size = 0  # bytes looked at
        self.end = 0  # bytes up to the last whole append, where to go on
        self.marker = b""
        self.damage: list[Damage] = []
        self.tail_damage: list[Damage] = []


class Catalog:
    """The records of a folder's segments, and an index of their rows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._forget()

    def _forget(self) -> None:
        self._segments: dict[str, _Segment] = {}
        self._numbered: list[_Segment] = []
        self.records = Records()
        self.predictions = Rows()
        self.labels = Rows()
        self.schemas: dict[bytes, tuple[str, ...]] = {}  # column names by key

    def path(self, segment: int) -> Path:
        """The file of a segment."""
        return self._numbered[segment].path

    def segment_order(self) -> Integers:
        """For each record the rank of its segment by name, that is by creation."""
        ranks = np.empty(len(self._numbered), dtype=np.int64)
        for rank, name in enumerate(sorted(self._segments)):
            ranks[self._segments[name].number] = rank
        return ranks[self.records.segments.values]

    def damage(self) -> tuple[Damage, ...]:
        """What cannot be read, in order of segments and offsets."""
        return tuple(
            damage
            for name in sorted(self._segments)
            for damage in self._segments[name].damage + self._segments[name].tail_damage
        )

    def refresh(self) -> None:
        """Take in what was written since the last time.

        Raises:
            LogError: a segment cannot be opened, or has a format of another release.
        """
        try:
            sizes = self._sizes()
            if any(sizes.get(name, 0) < known.end for name, known in self._segments.items()):
                self._forget()  # files were removed or cut: what is known of them is no longer so
            for name in sorted(sizes):
                segment = self._segments.get(name) or self._add(name)
                if sizes[name] > segment.size:
                    with suppress(FileNotFoundError):
                        self._catch_up(segment)
        except OSError as error:
            raise LogError(
                f"the prediction log in {self._folder} cannot be read ({error}): "
                "see that this user may read it and that its disk is sound"
            ) from error

    def _sizes(self) -> dict[str, int]:
        sizes: dict[str, int] = {}
        if not self._folder.exists():
            return sizes
        for path in self._folder.iterdir():
            if _SEGMENT_NAME.fullmatch(path.name):
                with suppress(FileNotFoundError):  # its writer could not write and removed it
                    sizes[path.name] = path.stat().st_size
        return sizes

    def _add(self, name: str) -> _Segment:
        segment = _Segment(self._folder / name, len(self._numbered))
        self._segments[name] = segment
        self._numbered.append(segment)
        return segment

    def _catch_up(self, segment: _Segment) -> None:
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

    def _take_in(self, segment: _Segment, found: Scan, heads: Iterable[RecordHead]) -> None:
        predictions, labels = Batch(), Batch()
        for number, head in enumerate(heads, start=len(self.records)):
            if isinstance(head, Schema):
                self.schemas[head.key] = head.columns
            elif isinstance(head, PredictionHead):
                predictions.add(number, head)
            else:
                labels.add(number, head)
        self.records.extend(segment.number, found.frames)
        self.predictions.extend(predictions)
        self.labels.extend(labels)
        segment.damage += found.damage
        segment.tail_damage = found.tail_damage
        if found.frames:
            segment.end = found.end
        for damage in found.damage + found.tail_damage:
            _logger.warning("lost records: %s", damage)


def _read_header(segment: _Segment, file: BinaryIO) -> None:
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
