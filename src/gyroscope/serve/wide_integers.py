"""Which columns of an Arrow schema are integers that Arrow itself refuses to read.

Polars has integers of 128 bits and writes them into Arrow streams, and into the schema of Arrow
that a Parquet file carries. Arrow reads nothing of such a table, and does not say which column is
to blame, so the schema is looked up here. It is a table of Flatbuffers: see the wire format in
https://flatbuffers.dev/internals and Arrow's ``format/Message.fbs`` and ``format/Schema.fbs``.
"""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Iterator
from itertools import islice

_WIDEST = 64  # bits of the integers that Arrow reads
_MOST = 100  # columns that are named: what a stranger wrote may lead round and round
_CONTINUES = b"\xff\xff\xff\xff"  # before the length of a message, but in the oldest streams
_SCHEMA, _INT = 1, 2  # as the unions of a message and of a type number them
# In the footer of a Parquet file: key, and value as a Thrift text with its length before it.
_IN_PARQUET = re.compile(rb"ARROW:schema\x18[\x80-\xff]{0,4}[\x00-\x7f]([0-9A-Za-z+/]+=*)")


def wide_integers(body: bytes) -> list[str]:
    """The first columns of an Arrow stream or a Parquet file with integers of more than 64 bits.

    None are found where there is no schema, or a damaged one.
    """
    in_parquet = _IN_PARQUET.findall(body)
    try:
        message = binascii.a2b_base64(in_parquet[-1]) if in_parquet else body
        at = len(_CONTINUES) if message.startswith(_CONTINUES) else 0
        return list(islice(_wide(message, at + 4), _MOST))  # behind the length
    except (struct.error, ValueError):  # it points elsewhere, or holds no text
        return []


def _wide(data: bytes, start: int) -> Iterator[str]:
    message = _Table(data, start + _number("<I", data, start))
    if message.number(1, "<B") != _SCHEMA:
        return
    for field in message.table(2).tables(1):
        if field.number(2, "<B") == _INT and field.table(3).number(0, "<i") > _WIDEST:
            yield field.text(0)


class _Table:
    """A table of Flatbuffers; raises struct.error where it leads out of the data."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at
        self._slots = at - _number("<i", data, at)

    def number(self, slot: int, form: str) -> int:
        """A number, 0 if it is not there."""
        at = self._place(slot)
        return 0 if at is None else _number(form, self._data, at)

    def table(self, slot: int) -> _Table:
        """A table."""
        return _Table(self._data, self._target(slot))

    def tables(self, slot: int) -> Iterator[_Table]:
        """The tables of a vector."""
        start = self._target(slot)
        for number in range(_number("<I", self._data, start)):
            at = start + 4 * (number + 1)
            yield _Table(self._data, at + _number("<I", self._data, at))

    def text(self, slot: int) -> str:
        """A text."""
        at = self._target(slot)
        return self._data[at + 4 : at + 4 + _number("<I", self._data, at)].decode()

    def _target(self, slot: int) -> int:
        at = self._place(slot)
        if at is None:
            raise struct.error(f"slot {slot} is empty")
        return at + _number("<I", self._data, at)

    def _place(self, slot: int) -> int | None:
        position = 4 + 2 * slot
        if position >= _number("<H", self._data, self._slots):
            return None
        offset = _number("<H", self._data, self._slots + position)
        return self._at + offset if offset else None


def _number(form: str, data: bytes, at: int) -> int:
    if at < 0:  # would be counted from the end
        raise struct.error(f"offset {at}")
    number: int = struct.unpack_from(form, data, at)[0]
    return number
