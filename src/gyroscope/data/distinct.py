"""The distinct values of a column, so that inference looks at each value once, not at each row."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

ValueKind = Literal["text", "integer", "float", "boolean", "time", "unsupported"]


class Distinct(msgspec.Struct, frozen=True, kw_only=True):
    """A column as distinct values, in order of first appearance, and where each stands."""

    name: str
    kind: ValueKind
    stored: str  # Arrow type of the column, for messages
    values: Any  # pyarrow.Array[k] without nulls; texts are trimmed
    counts: NDArray[np.int64]  # int64[k]: rows with each value, all positive
    codes: NDArray[np.int32]  # int32[n]: position in ``values``, -1 for missing

    @property
    def n_missing(self) -> int:
        """Rows without a value."""
        return self.codes.size - self.n_present

    @property
    def n_present(self) -> int:
        """Rows with a value."""
        return int(self.counts.sum())

    def texts(self) -> list[str]:
        """The values as text, spelt as the codec compares them."""
        if self.kind == "boolean":
            return ["true" if value else "false" for value in self.values.to_pylist()]
        return [str(value) for value in self.values.to_pylist()]

    def most_frequent(self) -> NDArray[np.int64]:
        """Positions of the values, most frequent first, ties in order of the values."""
        order = np.array(sorted(range(len(self.values)), key=self.texts().__getitem__), dtype=int)
        return order[np.argsort(-self.counts[order], kind="stable")]

    def without(self, texts: Collection[str]) -> Distinct:
        """The same column with these texts counted as missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not texts:
            return self
        given = pa.array(sorted(texts), type=self.values.type)
        keep = ~np.asarray(pc.is_in(self.values, value_set=given).to_numpy(zero_copy_only=False))
        position = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)
        return msgspec.structs.replace(
            self,
            values=self.values.filter(pa.array(keep)),
            counts=self.counts[keep],
            codes=np.append(position, np.int32(-1))[self.codes],
        )


def distinct_values(name: str, column: Any) -> Distinct:
    """The distinct values of an Arrow array or chunked array; blank text and NaN are missing."""
    import pyarrow as pa

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    stored = array.type
    if pa.types.is_dictionary(stored):
        array = array.dictionary_decode()
    kind = _kind(array.type)
    if kind == "unsupported":
        nothing = np.full(len(array), -1, dtype=np.int32)
        return Distinct(
            name=name,
            kind=kind,
            stored=str(stored),
            values=pa.array([], pa.string()),
            counts=np.zeros(0, dtype=np.int64),
            codes=nothing,
        )
    values, codes = _coded(array, kind)
    return Distinct(
        name=name,
        kind=kind,
        stored=str(stored),
        values=values,
        counts=np.bincount(codes[codes >= 0], minlength=len(values)),
        codes=codes,
    )


def _kind(stored: Any) -> ValueKind:
    from pyarrow import types

    tests: tuple[tuple[ValueKind, tuple[Any, ...]], ...] = (
        ("text", (types.is_string, types.is_large_string, types.is_string_view, types.is_null)),
        ("boolean", (types.is_boolean,)),
        ("integer", (types.is_integer,)),
        ("float", (types.is_floating, types.is_decimal)),
        ("time", (types.is_timestamp, types.is_date)),
    )
    return next((kind for kind, fits in tests if any(f(stored) for f in fits)), "unsupported")


def _coded(array: Any, kind: ValueKind) -> tuple[Any, NDArray[np.int32]]:
    """Distinct values without null and the position of each row's value in them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "text":
        encoded = pc.cast(array, pa.large_string()).dictionary_encode()
        trimmed = pc.utf8_trim_whitespace(encoded.dictionary)
        blank = pc.equal(trimmed, "")
        if trimmed.equals(encoded.dictionary) and not pc.any(blank).as_py():
            return trimmed, _positions(encoded.indices)
        clean = pc.if_else(blank, pa.scalar(None, pa.large_string()), trimmed)
        merged = clean.dictionary_encode()  # two spellings may be one after trimming
        lookup = np.append(_positions(merged.indices), np.int32(-1))
        return merged.dictionary, lookup[_positions(encoded.indices)]
    if kind == "float":
        array = pc.cast(array, pa.float64())
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)
    encoded = array.dictionary_encode()
    return encoded.dictionary, _positions(encoded.indices)


def _positions(indices: Any) -> NDArray[np.int32]:
    positions: NDArray[np.int32] = indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return positions.astype(np.int32, copy=False)
