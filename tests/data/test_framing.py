"""Records as compact bytes: read back, also those of older releases; anything else is refused."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gyroscope.data.framing import FORMAT, array_out, framed, unframed
from gyroscope.errors import DataError


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Something with an array."""

    name: str
    values: NDArray[np.float64]


KEPT = Kept(name="day", values=np.arange(600.0).reshape(20, 30))


def same(one: Kept, other: Kept) -> bool:
    return one.name == other.name and np.array_equal(one.values, other.values)


def test_a_record_is_read_back() -> None:
    assert same(unframed(b"kept", framed(b"kept", KEPT), Kept), KEPT)


def test_a_record_of_the_first_format_is_read() -> None:
    content = zlib.compress(msgspec.msgpack.encode(KEPT, enc_hook=array_out), level=1)
    assert same(unframed(b"kept", b"gyrokept" + bytes([1]) + content, Kept), KEPT)


def test_a_later_format_says_so() -> None:
    content = framed(b"kept", KEPT).replace(b"gyrokept" + bytes([FORMAT]), b"gyrokept\xff")
    with pytest.raises(DataError, match="has format 255, this release reads up to 2"):
        unframed(b"kept", content, Kept)


@given(
    form=st.integers(0, FORMAT),
    at=st.integers(8, 500),
    content=st.binary(max_size=8),
    cut=st.booleans(),
)
@settings(max_examples=200)
def test_damaged_bytes_are_refused_or_are_the_record(
    form: int, at: int, content: bytes, cut: bool
) -> None:
    whole = framed(b"kept", KEPT)
    rest = b"" if cut else whole[at + len(content) :]
    spoilt = whole[:8] + bytes([form]) + (whole[:at] + content + rest)[9:]
    try:
        found = unframed(b"kept", spoilt, Kept)
    except DataError:
        return
    assert found.values.shape == KEPT.values.shape
