"""Tables of any kind, read column by column in pieces that fit in little memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gyroscope.data.sources import PARQUET_SUFFIXES, files_of, read_table
from gyroscope.errors import DataError

PIECE = 32 << 20  # bytes of a column, or of a stream of rows, that are read at a time
PIECE_ROWS = 1 << 21  # rows at a time, so that what is made of them stays small too

_ARROW_UNITS = ("D", "s", "ms", "us", "ns")  # of times in NumPy


class Table(Protocol):
    """A table whose columns can be read as often as needed, also by several threads."""

    untyped: bool  # whether the source knows no types, as CSV: all is text
    rows: int

    @property
    def schema(self) -> Any:
        """The ``pyarrow.Schema``; names are unique."""

    def pieces(self, name: str) -> Iterator[Any]:
        """Consecutive pieces of a column, each a ``pyarrow.Array`` or ``ChunkedArray``."""


class Stream:
    """Rows that can be read once, from beginning to end."""

    def __init__(self, reader: Any) -> None:
        self.schema = _checked(reader.schema)
        self._reader = reader

    def tables(self) -> Iterator[ArrowTable]:
        """The rows in tables of about ``PIECE`` bytes; at least one, which may be empty."""
        import pyarrow as pa

        held: list[Any] = []
        size = 0
        for batch in self._reader:
            held.append(batch)
            size += batch.nbytes
            if size >= PIECE:
                yield ArrowTable(pa.Table.from_batches(held, self.schema))
                held, size = [], 0
        yield ArrowTable(pa.Table.from_batches(held, self.schema))

    def kept(self, folder: Path) -> Table:
        """The rows written to a file in ``folder``, to be read more than once."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = folder / "stream.parquet"
        kept = [field for field in self.schema if not is_nested(field.type)]
        flat = pa.schema([(field.name, _plain_type(field.type)) for field in kept])
        with pq.ParquetWriter(path, flat, compression="lz4") as writer:
            for table in self.tables():
                columns = [plain(table.table.column(name)) for name in flat.names]
                writer.write_table(pa.table(columns, schema=flat), row_group_size=1 << 20)
        return ParquetTable([path])


def open_table(source: Any, names: Sequence[str] | None = None) -> Table | Stream:
    """Open a table for reading, without reading it where that can be helped.

    Args:
        source: a path or a pattern such as ``sales/*.parquet`` (CSV, TSV, text, ``.gz``, Parquet);
            a ``pyarrow`` table, batch, reader or dataset; a frame of pandas or Polars; anything
            else with ``__arrow_c_stream__``; a mapping of names to arrays; a structured NumPy
            array, or one of two dimensions with ``names``.
        names: of the columns of a two-dimensional array; "column_1", ... if not given.

    Returns:
        A table; or a stream, for what can be read only once.

    Raises:
        UsageError: there is no such file, or it is of no known kind.
        DataError: the source is no table, is damaged, or has unusable column names.
    """
    import pyarrow as pa

    try:
        return _opened(source, names)
    except pa.ArrowException as error:
        raise DataError(f"what was given is no table that Arrow can read: {error}") from None


def _opened(source: Any, names: Sequence[str] | None) -> Table | Stream:
    import pyarrow as pa

    opened: Table | Stream
    if isinstance(source, str | Path):
        return _open_files(Path(source))
    if hasattr(source, "to_frame"):  # a series of pandas or Polars
        source = source.to_frame()
    if isinstance(source, pa.RecordBatchReader):
        opened = Stream(source)
    elif isinstance(source, pa.Table | pa.RecordBatch):
        opened = ArrowTable(source)
    elif isinstance(source, np.ndarray):
        opened = ArrowTable(_columns(_numpy_columns(source, names)))
    elif isinstance(source, Mapping):
        opened = ArrowTable(_columns({str(name): source[name] for name in source}))
    elif _is_of(source, "pandas"):
        _check_unique([str(name) for name in source.columns])
        series = {str(name): source.iloc[:, at] for at, name in enumerate(source.columns)}
        opened = ArrowTable(_columns(series))
    elif _is_of(source, "pyarrow") and hasattr(source, "scanner"):
        opened = DatasetTable(source)
    elif hasattr(source, "__arrow_c_stream__"):
        held = hasattr(source, "__len__")  # a frame in memory, such as one of Polars
        opened = (
            ArrowTable(pa.table(source))
            if held
            else Stream(pa.RecordBatchReader.from_stream(source))
        )
    elif hasattr(source, "__arrow_c_array__"):
        opened = ArrowTable(pa.record_batch(source))
    else:
        raise DataError(
            f"expected a path, an Arrow table, a frame or arrays by name, got {type(source)}"
        )
    return opened


class ArrowTable:
    """A table in memory."""

    def __init__(self, table: Any, *, untyped: bool = False) -> None:
        import pyarrow as pa

        self.table = pa.Table.from_batches([table]) if isinstance(table, pa.RecordBatch) else table
        self.schema = _checked(self.table.schema)
        self.untyped = untyped
        self.rows: int = self.table.num_rows

    def pieces(self, name: str) -> Iterator[Any]:
        """Consecutive pieces of a column."""
        import pyarrow as pa

        held: list[Any] = []
        for chunk in self.table.column(name).chunks:
            for start in range(0, len(chunk), PIECE_ROWS):
                part = chunk.slice(start, PIECE_ROWS)
                if held and sum(p.nbytes for p in held) + part.nbytes > PIECE:
                    yield pa.chunked_array(held)
                    held = []
                held.append(part)
        if held:
            yield held[0] if len(held) == 1 else pa.chunked_array(held)


class DatasetTable:
    """A ``pyarrow.dataset.Dataset``."""

    untyped = False

    def __init__(self, dataset: Any) -> None:
        self.schema = _checked(dataset.schema)
        self.rows: int = dataset.count_rows()
        self._dataset = dataset

    def pieces(self, name: str) -> Iterator[Any]:
        """Consecutive pieces of a column."""
        batches = self._dataset.to_batches(
            columns=[name], use_threads=False, batch_readahead=1, fragment_readahead=1
        )
        for batch in batches:
            yield batch.column(0)


class ParquetTable:
    """Parquet files, one below the other."""

    untyped = False

    def __init__(self, paths: Sequence[Path]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._paths = paths
        self._metadata = []
        for path in paths:
            try:
                file = pq.ParquetFile(path)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path} is not a readable Parquet file: {error}") from None
            with file:
                self._metadata.append(file.metadata)
                found = _checked(file.schema_arrow)
            if path == paths[0]:
                self.schema = found
            elif odd := sorted(set(self.schema.names) ^ set(found.names)):
                raise DataError(
                    f"{paths[0]} and {path} have different columns: only one has {odd[0]!r}"
                )
        self.rows: int = sum(metadata.num_rows for metadata in self._metadata)

    def pieces(self, name: str) -> Iterator[Any]:
        """Consecutive pieces of a column."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        kind = self.schema.field(name).type
        texts = [name] if _is_text(kind) else None
        for path, metadata in zip(self._paths, self._metadata, strict=True):
            groups = range(metadata.num_row_groups)
            largest = max((metadata.row_group(group).num_rows for group in groups), default=0)
            # Of a large row group not even the compressed bytes of a column are held as a whole.
            buffer = 1 << 20 if largest > PIECE_ROWS else 0
            try:
                with pq.ParquetFile(
                    path, metadata=metadata, read_dictionary=texts, buffer_size=buffer
                ) as file:
                    yield from _parquet_pieces(file, name)
            except (pa.ArrowException, OSError) as error:
                raise DataError(f"{path} is not a readable Parquet file: {error}") from None


def chunks_of(piece: Any) -> Sequence[Any]:
    """The arrays that a piece consists of, at least one."""
    import pyarrow as pa

    if not isinstance(piece, pa.ChunkedArray):
        return [piece]
    return piece.chunks or [pa.array([], piece.type)]


def in_one(piece: Any) -> Any:
    """A piece as one array."""
    import pyarrow as pa

    if not isinstance(piece, pa.ChunkedArray):
        return piece
    return piece.unify_dictionaries().combine_chunks()


def pieces_of(table: Table, name: str) -> Iterator[Any]:
    """Consecutive pieces of a column, stored in a way that all of Arrow can compute with."""
    return map(plain, table.pieces(name))


def plain(piece: Any) -> Any:
    """A piece with its values as they are, not as views, in runs or under a type of their own.

    Arrow can do little with those; Polars stores every text as a view.
    """
    import pyarrow as pa

    kind = _plain_type(piece.type)
    if kind == piece.type:
        return piece
    return pa.chunked_array([_plain_chunk(chunk) for chunk in chunks_of(piece)], kind)


def is_nested(kind: Any) -> bool:
    """Whether an Arrow type is of values that hold values, or of bytes: nothing to be counted."""
    from pyarrow import types

    kind = _plain_type(kind)
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        types.is_nested(kind)
        or types.is_interval(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_fixed_size_binary(kind)
        or types.is_binary_view(kind)
    )


def _plain_type(kind: Any) -> Any:
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return _plain_type(kind.storage_type)
    if pa.types.is_run_end_encoded(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _plain_type(kind.value_type), kind.ordered)
    return pa.large_string() if pa.types.is_string_view(kind) else kind


def _plain_chunk(chunk: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = chunk.type
    if isinstance(kind, pa.BaseExtensionType):
        return _plain_chunk(chunk.storage)
    if pa.types.is_run_end_encoded(kind):
        return _plain_chunk(pc.run_end_decode(chunk))
    if pa.types.is_dictionary(kind):
        values = _plain_chunk(chunk.dictionary)
        return pa.DictionaryArray.from_arrays(chunk.indices, values, ordered=kind.ordered)
    return chunk.cast(pa.large_string()) if pa.types.is_string_view(kind) else chunk


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for streams that must be read twice; it vanishes with its context."""
    return tempfile.TemporaryDirectory(prefix="gyroscope-")


def _open_files(path: Path) -> Table:
    files = files_of(path)
    if all(file.name.lower().endswith(PARQUET_SUFFIXES) for file in files):
        return ParquetTable(files)
    return ArrowTable(read_table(path), untyped=True)


def _parquet_pieces(file: Any, name: str) -> Iterator[Any]:
    """Small row groups together, large ones in slices."""
    held: list[int] = []
    rows = 0
    for group in range(file.num_row_groups):
        held.append(group)
        rows += file.metadata.row_group(group).num_rows
        if rows >= PIECE_ROWS or group == file.num_row_groups - 1:
            for batch in file.iter_batches(
                PIECE_ROWS, row_groups=held, columns=[name], use_threads=False
            ):
                yield batch.column(0)
            held, rows = [], 0


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_of(source: Any, library: str) -> bool:
    return type(source).__module__.split(".")[0] == library and hasattr(source, "__class__")


def _numpy_columns(array: np.ndarray, names: Sequence[str] | None) -> dict[str, Any]:
    if array.dtype.names is not None:
        return {name: array[name] for name in array.dtype.names}
    if array.ndim != 2:
        raise DataError(f"expected an array of two dimensions, got {array.ndim}")
    names = names or [f"column_{position + 1}" for position in range(array.shape[1])]
    if len(names) != array.shape[1]:
        raise DataError(f"expected names of {array.shape[1]} columns, got {len(names)}")
    _check_unique(names)
    return {name: array[:, position] for position, name in enumerate(names)}


def _columns(given: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    arrays = [_arrow_array(name, values) for name, values in given.items()]
    try:
        return pa.table(arrays, names=list(given))
    except pa.ArrowInvalid as error:
        raise DataError(f"the columns do not make a table: {error}") from None


def _arrow_array(name: str, values: Any) -> Any:
    """An array, series or sequence as Arrow array; of what Arrow has no type for its texts."""
    import pyarrow as pa

    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, str | bytes) or not hasattr(values, "__len__"):
        raise DataError(f"column {name!r}: expected an array or a list, got {type(values)}")
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise DataError(f"column {name!r}: expected one dimension, got {values.ndim}")
        values = _native(values)
    dtype = getattr(values, "dtype", None)
    masked = isinstance(values, np.ma.MaskedArray)
    if isinstance(dtype, np.dtype) and dtype.kind in "fiub" and not masked:
        return pa.array(np.ascontiguousarray(values))
    try:
        return pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        return pa.array([_text_of(value) for value in values], pa.string())


def _native(values: np.ndarray) -> np.ndarray:
    """Values in the byte order and units that Arrow knows."""
    dtype = values.dtype.newbyteorder("=")
    if dtype.kind == "f" and dtype.itemsize > 8:
        dtype = np.dtype(np.float64)
    elif dtype.kind in "mM" and np.datetime_data(dtype)[0] not in _ARROW_UNITS:
        dtype = np.dtype(f"{dtype.kind}8[s]")
    return values.astype(dtype, copy=False)


def _text_of(value: object) -> str | None:
    """A value in words; None for None, NaN, NaT and pandas.NA."""
    try:
        gone = value is None or bool(value != value)  # noqa: PLR0124 (NaN)
    except TypeError:  # pandas.NA is neither true nor false
        gone = True
    except ValueError:  # an array
        gone = False
    return None if gone else str(value).encode(errors="backslashreplace").decode()


def _checked(schema: Any) -> Any:
    _check_unique(schema.names)
    return schema


def _check_unique(names: Sequence[str]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"several columns are named {', '.join(map(repr, twice))}")
