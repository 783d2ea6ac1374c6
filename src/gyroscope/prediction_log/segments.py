"""The format of a segment file: a header, then frames that are only ever appended.

=========  ==========================================================================
header     magic (8 bytes), format version (u32), marker (8 bytes), CRC-32 (u32)
frame      marker (8), whether it ends an append (u8), payload length (u32),
           CRC-32 of the payload (u32), CRC-32 of the frame so far (u32), payload
=========  ==========================================================================

All numbers are little-endian. The marker is drawn at random for each segment and stands before each
frame, so a reader that meets damaged bytes can find the next frame; nobody who sends predictions
can forge one, for he does not know it. An append is one frame or several, of which only the last
ends it: all its frames count, or none.

What a killed writer leaves behind is the beginning of an append and is passed over. Any other bytes
that are not a frame are damage: they are reported, and everything around them is read.
"""

from __future__ import annotations

import struct
from zlib import crc32

import msgspec

from gyroscope.errors import LogError

MAGIC = b"GYROLOG\0"
FORMAT = 1

_HEADER = struct.Struct("<8sI8sI")
_FRAME = struct.Struct("<8sBIII")
_CHECKSUM = struct.Struct("<I")
MARKER_BYTES = 8
HEADER_BYTES = _HEADER.size


class Frame(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One record in its place."""

    offset: int  # of the payload, bytes from the start of the file
    length: int  # of the payload, bytes
    checksum: int  # CRC-32 of the payload
    ends_append: bool

    @property
    def end(self) -> int:
        """Offset of the byte after the frame."""
        return self.offset + self.length


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of a segment that no frame can be made of; records in them are lost."""

    file: str
    offset: int  # bytes from the start of the file
    length: int  # bytes

    def __str__(self) -> str:
        return f"{self.file}: {self.length} damaged bytes at offset {self.offset}"


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in the bytes of a segment from some offset on."""

    frames: list[Frame]  # of whole appends
    damage: list[Damage]  # with a whole append behind it: it will stay
    tail_damage: list[Damage]  # with none: bytes that may still be on their way look the same
    end: int  # offset behind the last whole append, where to go on when the file has grown


def header(marker: bytes) -> bytes:
    """The first bytes of a segment."""
    fields = _HEADER.pack(MAGIC, FORMAT, marker, 0)[: -_CHECKSUM.size]
    return fields + _CHECKSUM.pack(crc32(fields))


def frame(payload: bytes, marker: bytes, *, ends_append: bool) -> bytes:
    """A frame as it is written."""
    fields = _FRAME.pack(marker, ends_append, len(payload), crc32(payload), 0)[: -_CHECKSUM.size]
    return fields + _CHECKSUM.pack(crc32(fields)) + payload


def marker_of(start: bytes, file: str) -> bytes | None:
    """The marker of a segment from its first ``HEADER_BYTES + MARKER_BYTES`` bytes.

    None if there are too few bytes to say. A damaged header is made good by the first frame, which
    repeats the marker.

    Raises:
        LogError: the segment has a format that this release cannot read.
    """
    if len(start) < HEADER_BYTES:
        return None
    magic, version, marker, checksum = _HEADER.unpack_from(start)
    if magic == MAGIC and checksum == crc32(start[: HEADER_BYTES - _CHECKSUM.size]):
        if version != FORMAT:
            raise LogError(
                f"{file} has format {version} and this release reads format {FORMAT}: "
                "use the release that wrote it, or a later one"
            )
        return bytes(marker)
    repeated = start[HEADER_BYTES : HEADER_BYTES + MARKER_BYTES]
    return repeated if len(repeated) == MARKER_BYTES else None


def scan(data: bytes, start: int, marker: bytes, file: str) -> Scan:
    """Find the frames in ``data``, the bytes of a segment from offset ``start`` to its end."""
    frames: list[Frame] = []
    damage: list[Damage] = []
    end = position = start
    append_frames: list[Frame] = []
    append_damage: list[Damage] = []
    while position < start + len(data):
        try:
            found = _frame_at(data, position - start, start, marker)
        except EOFError:
            break
        if found is None:
            following = start + _next_frame(data, position - start + 1, marker)
            length = following - position
            append_damage.append(Damage(file=file, offset=position, length=length))
            position = following
            continue
        append_frames.append(found)
        position = found.end
        if found.ends_append:
            frames += append_frames
            damage += append_damage
            append_frames, append_damage = [], []
            end = position
    return Scan(frames=frames, damage=damage, tail_damage=append_damage, end=end)


def _frame_at(data: bytes, position: int, start: int, marker: bytes) -> Frame | None:
    """The frame at a position of ``data``; None if there is none.

    Raises:
        EOFError: a frame begins there and its end is missing.
    """
    if len(data) - position < _FRAME.size:
        if marker.startswith(data[position : position + MARKER_BYTES]):
            raise EOFError
        return None
    head = _head_at(data, position, marker)
    if head is None:
        return None
    ends_append, length, checksum = head
    position += _FRAME.size
    if position + length > len(data):
        raise EOFError
    if crc32(data[position : position + length]) != checksum:
        return None
    return Frame(offset=start + position, length=length, checksum=checksum, ends_append=ends_append)


def _head_at(data: bytes, position: int, marker: bytes) -> tuple[bool, int, int] | None:
    """The fields of a frame before its payload: ends_append, length, checksum of the payload."""
    found, ends_append, length, checksum, own_checksum = _FRAME.unpack_from(data, position)
    fields = data[position : position + _FRAME.size - _CHECKSUM.size]
    if found != marker or own_checksum != crc32(fields):
        return None
    return bool(ends_append), length, checksum


def _next_frame(data: bytes, position: int, marker: bytes) -> int:
    """Where the next frame begins, at or after ``position``; the length of ``data`` if nowhere."""
    while (position := data.find(marker, position)) >= 0:
        is_cut = len(data) - position < _FRAME.size
        if is_cut or _head_at(data, position, marker) is not None:
            return position
        position += 1
    return len(data)
