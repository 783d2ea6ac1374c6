"""Raw columns, of whatever type they are stored in, as the numbers or codes of a column spec."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.arrow import encode_column
from gyroscope.data.cells import FALSE_TRUE, ColumnSpec, FloatArray
from gyroscope.data.codec import Codec, label_text
from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.distinct import distinct_values
from gyroscope.data.infer_types import (
    FALSE_WORDS,
    LEADING_ZERO,
    MARKERS,
    MARKERS_AMONG_NUMBERS,
    NUMBER,
    TRUE_WORDS,
    infer_type,
)
from gyroscope.data.tables import chunks_of, in_one
from gyroscope.kernels import REGISTERS, Stretch, encode_texts, floats_of, sketch_texts
from gyroscope.stats.heavy_hitters import KEPT, HeavyHitters, heavy_hitters

LISTED = 1000  # categories that are counted each by itself, the most frequent ones
NEARLY_ALL = 0.95  # share of the rows with text that must be numbers for a column of numbers

_TICKS_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What the values of a raw column are."""

    type: ColumnType
    unit: str = ""
    format: str | None = None
    categories: tuple[str, ...] = ()


class Numbers(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A piece of a column of numbers or datetimes."""

    stretches: Sequence[Stretch]  # as stored, one after the other; all of one type
    unreadable: int = 0  # missing here because they could not be read

    @property
    def size(self) -> int:
        """Rows of the piece."""
        return sum(stretch.values.size for stretch in self.stretches)

    def floats(self) -> FloatArray:
        """float64[n], NaN where missing."""
        return floats_of(self.stretches)

    def taken(self, rows: NDArray[np.int64]) -> FloatArray:
        """float64[k]: the values of some rows, which ascend, NaN where missing."""
        ends = np.cumsum([0, *(stretch.values.size for stretch in self.stretches)])
        if rows.size == ends[-1]:
            return self.floats()
        cuts = np.searchsorted(rows, ends)
        return np.concatenate(
            [
                stretch.taken(rows[low:high] - first)
                for stretch, first, low, high in zip(
                    self.stretches, ends, cuts, cuts[1:], strict=False
                )
            ]
        )


class Codes(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A piece of a column of categories."""

    codes: NDArray[np.int32]  # int32[n], its own: position among the distinct values, -1: missing
    lookup: NDArray[np.int32]  # int32[k + 1]: the cell of each, and last that of missing ones
    unreadable: int = 0  # missing here because they could not be read
    sketch: NDArray[np.uint8] | None = None  # uint8[REGISTERS] of the texts of the others
    others: HeavyHitters = HeavyHitters()


def kind_of(name: str, sample: Any, *, untyped: bool) -> Kind:
    """What the values of a column are, by its Arrow type or, for texts, by a sample of them.

    Args:
        name: of the column.
        sample: Arrow array of rows of the reference.
        untyped: whether the source knows no types: numbers in text are then numbers.
    """
    from pyarrow import types

    kind = sample.type
    if types.is_dictionary(kind):
        sample = sample.dictionary_decode()
        if not _is_text(sample.type):
            return Kind(type=ColumnType.CATEGORY, categories=_most_frequent(_texts(sample)))
        kind = sample.type
    if types.is_time(kind) or types.is_duration(kind):
        return Kind(type=ColumnType.NUMBER, unit="s")
    plain = (
        (types.is_boolean, Kind(type=ColumnType.BOOLEAN, categories=FALSE_TRUE)),
        (types.is_integer, Kind(type=ColumnType.INTEGER)),
        (types.is_temporal, Kind(type=ColumnType.DATETIME)),
    )
    for fits, found in plain:
        if fits(kind):
            return found
    return _kind_of_texts(name, sample, untyped) if _is_text(kind) else Kind(type=ColumnType.NUMBER)


def numbers_of(array: Any, spec: ColumnSpec) -> Numbers:
    """An Arrow array, chunked or not, as numbers; what is stored as numbers is not copied."""
    from pyarrow import types

    kind = array.type
    plain = types.is_integer(kind) or types.is_floating(kind)
    if plain and spec.type is not ColumnType.DATETIME:
        return Numbers(stretches=[_stored(chunk) for chunk in chunks_of(array)])
    array = in_one(array)
    if types.is_dictionary(kind) and not _is_text(kind.value_type):
        array = array.dictionary_decode()
        kind = array.type
    if spec.type is not ColumnType.DATETIME:
        if types.is_time(kind) or types.is_duration(kind):
            ticks = array.view("int32" if kind.bit_width == 32 else "int64")
            seconds = floats_of([_stored(ticks)]) / _TICKS_A_SECOND[kind.unit]
            return Numbers(stretches=[Stretch(values=seconds)])
        if types.is_integer(kind) or types.is_floating(kind):  # of a dictionary
            return Numbers(stretches=[_stored(array)])
        if types.is_boolean(kind):
            return Numbers(stretches=[_stored(array.cast("uint8"))])
        if types.is_null(kind):
            return Numbers(stretches=[Stretch(values=np.full(len(array), np.nan))])
    encoded = encode_column(_codec(spec.type, spec.format), array)
    return Numbers(stretches=[Stretch(values=encoded.values)], unreadable=encoded.bad.size)


def codes_of(array: Any, spec: ColumnSpec) -> Codes:
    """An Arrow array, chunked or not, as codes of categories."""
    import pyarrow as pa
    from pyarrow import types

    missing = np.array([spec.levels + 1], dtype=np.int32)
    if spec.type is ColumnType.BOOLEAN and not types.is_null(array.type):
        encoded = encode_column(_codec(spec.type, spec.format), in_one(array))
        codes = np.where(np.isnan(encoded.values), -1, encoded.values).astype(np.int32)
        lookup = np.append(np.arange(2, dtype=np.int32), missing)
        return Codes(codes=codes, lookup=lookup, unreadable=encoded.bad.size)
    try:
        codes, texts = _distinct_texts(array)
    except pa.ArrowException:
        codes = np.full(len(array), -1, dtype=np.int32)
        return Codes(codes=codes, lookup=missing, unreadable=len(array) - array.null_count)
    lookup = _codes_of_texts(texts, spec)
    other = np.flatnonzero(lookup[:-1] == spec.levels)
    if other.size == 0:
        return Codes(codes=codes, lookup=lookup)
    rows = np.bincount(codes + 1, minlength=len(texts) + 1)[1:]
    other = other[rows[other] > 0]
    return Codes(
        codes=codes,
        lookup=lookup,
        sketch=_sketched(texts.take(pa.array(other))),
        others=_heaviest(texts, rows, other),
    )


def _stored(array: Any) -> Stretch:
    """The buffers of an Arrow array of numbers."""
    valid, data = array.buffers()
    dtype = np.dtype(array.type.to_pandas_dtype())
    values = np.frombuffer(data, dtype=dtype)[array.offset :][: len(array)] if data else None
    if values is None:
        values = np.zeros(0, dtype=dtype)
    bitmap = memoryview(valid) if valid is not None and array.null_count else None
    return Stretch(values=values, valid=bitmap, offset=array.offset)


@lru_cache(maxsize=16)  # for all columns of a table
def _codec(type: ColumnType, format: str | None) -> Codec:
    """The codec of raw columns, whatever their names, with all the usual words for missing."""
    markers: tuple[str, ...] = MARKERS
    if type in (ColumnType.NUMBER, ColumnType.INTEGER):
        markers = (*MARKERS, *MARKERS_AMONG_NUMBERS)
    return Codec(
        Column(
            name="column",
            type=ColumnType.NUMBER if type is ColumnType.INTEGER else type,
            nullable=True,
            missing=(
                *markers,
                *map(str.upper, markers),
                *map(str.capitalize, markers),
                "NaN",
                "NaT",
            ),
            true=(*sorted(TRUE_WORDS), "1") if type is ColumnType.BOOLEAN else (),
            false=(*sorted(FALSE_WORDS), "0") if type is ColumnType.BOOLEAN else (),
            format=format,
        )
    )


# -- texts ----------------------------------------------------------------------------------------


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _distinct_texts(array: Any) -> tuple[NDArray[np.int32], Any]:
    """Codes of a column, -1 for null, and the text of each, of which some may be equal."""
    from pyarrow import types

    if types.is_string(array.type) or types.is_large_string(array.type):
        codes, distinct = encode_texts(chunks_of(array))
        return codes, _texts(distinct)
    array = in_one(array)
    encoded = array if types.is_dictionary(array.type) else array.dictionary_encode()
    indices = encoded.indices.fill_null(-1) if encoded.indices.null_count else encoded.indices
    codes = indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return codes, _texts(encoded.dictionary)


def _texts(values: Any) -> Any:
    """Values as trimmed texts, numbers spelt as short as they can be."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(values.type):
        spelt = [None if value is None else label_text(value) for value in values.to_pylist()]
        return pa.array(spelt, pa.large_string())
    return pc.utf8_trim_whitespace(values.cast(pa.large_string()))


def _most_frequent(texts: Any) -> tuple[str, ...]:
    """The ``LISTED`` most frequent ones, ties in order of the texts."""
    import pyarrow.compute as pc

    counted = pc.value_counts(pc.drop_null(texts)).flatten()
    pairs = zip(counted[0].to_pylist(), counted[1].to_pylist(), strict=True)
    return tuple(text for text, _ in sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:LISTED])


def _kind_of_texts(name: str, sample: Any, untyped: bool) -> Kind:
    typed = infer_type(distinct_values(name, sample), untyped=untyped)
    if typed.type in (ColumnType.NUMBER, ColumnType.INTEGER):
        return Kind(type=typed.type)
    if typed.type is ColumnType.BOOLEAN:
        return Kind(type=typed.type, categories=FALSE_TRUE)
    if typed.type is ColumnType.DATETIME:
        return Kind(type=typed.type, format=typed.dates.format if typed.dates else None)
    values = typed.values
    if untyped and _nearly_numbers(values.values, values.counts):
        return Kind(type=ColumnType.NUMBER)
    listed = values.most_frequent()[:LISTED]
    return Kind(type=ColumnType.CATEGORY, categories=tuple(values.values.take(listed).to_pylist()))


def _nearly_numbers(texts: Any, counts: NDArray[np.int64]) -> bool:
    import pyarrow.compute as pc

    fits = pc.match_substring_regex(texts, NUMBER).to_numpy(zero_copy_only=False)
    codes = pc.any(pc.match_substring_regex(texts, LEADING_ZERO)).as_py()
    return bool(counts.size and not codes and counts[fits].sum() >= NEARLY_ALL * counts.sum())


def _codes_of_texts(texts: Any, spec: ColumnSpec) -> NDArray[np.int32]:
    """The cell of each text, and last that of null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    listed = pa.array(spec.categories, pa.large_string())
    codes = pc.index_in(texts, value_set=listed).fill_null(spec.levels)
    absent = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(["", *MARKERS], pa.large_string()))
    gone = pc.or_(absent, pc.is_null(texts)).to_numpy(zero_copy_only=False)
    found = codes.to_numpy(zero_copy_only=False).astype(np.int32)
    missing = np.int32(spec.levels + 1)
    found[gone & (found == spec.levels)] = missing  # unless it is a category, as NA for Namibia
    return np.append(found, missing)


def _sketched(texts: Any) -> NDArray[np.uint8]:
    sketch = np.zeros(REGISTERS, dtype=np.uint8)
    _, offsets, data = texts.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset :][: len(texts) + 1]
    sketch_texts(memoryview(data) if data else b"", ends, sketch)
    return sketch


def _heaviest(texts: Any, rows: NDArray[np.int64], other: NDArray[np.int64]) -> HeavyHitters:
    import pyarrow as pa

    if other.size > KEPT + 1:  # the others do not count
        other = other[np.argsort(-rows[other], kind="stable")[: KEPT + 1]]
    kept = texts.take(pa.array(other)).to_pylist()
    return heavy_hitters(dict(zip(kept, rows[other].tolist(), strict=True)))
