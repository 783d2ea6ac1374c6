"""Data files to Arrow tables: delimited text with every column as text, and Parquet."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gyroscope.errors import DataError, UsageError

DELIMITERS = (",", ";", "\t", "|")
TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
PARQUET_SUFFIXES = (".parquet", ".pq")
FALLBACK_ENCODINGS = ("cp1252", "latin-1")  # after UTF-8; the second reads any bytes at all

_BLOCK = 16 << 20  # bytes parsed at a time; a row may not be longer
_PART_ROWS, _PART_BYTES = 1 << 16, 4 << 20  # of a Parquet file or a text, read at a time
_HEAD = 1 << 20  # bytes in which the header must end
_GZIP_MAGIC = b"\x1f\x8b"
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_HEADER = re.compile(rf"(?:{_QUOTED.pattern}|[^\r\n])*+")


def read_table(path: Path | str) -> Any:
    """Read a data file, or all files that a pattern such as ``sales/*.csv`` names.

    Delimited text (``.csv``, ``.tsv``, ``.txt``, also ``.gz``) gives a ``pyarrow.Table`` in which
    every column is text, exactly as it stands in the file; the delimiter is guessed from the
    header, the encoding is UTF-8 or else Windows-1252 or Latin-1. Parquet keeps its types, with
    NaN turned to null, so that there is one kind of missing.

    Raises:
        UsageError: no such file, or not a kind of file that can be read.
        DataError: the file is empty, damaged, ragged, or has unusable column names.
    """
    files = files_of(Path(path))
    tables = [_read_file(file) for file in files]
    return tables[0] if len(tables) == 1 else _stacked(files, tables)


def read_parts(path: Path) -> Iterator[Any]:
    """The same table as :func:`read_table` reads, in consecutive parts that fit in little memory.

    Raises as :func:`read_table`, also after some parts were given.
    """
    for file in files_of(path):
        name = file.name.lower()
        if name.endswith(PARQUET_SUFFIXES):
            yield from _parquet_parts(file)
        elif name.removesuffix(".gz").endswith(TEXT_SUFFIXES):
            yield from _Layout(file, _head(file), _encoding_of(file)).parts()
        else:
            raise _unknown_kind(file)


def files_of(path: Path) -> list[Path]:
    """The file at a path, or all that a pattern names, sorted; raises UsageError if none."""
    if path.is_file():
        return [path]
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give a file or a pattern such as {path}/*.csv")
    if not re.search(r"[*?\[]", str(path)):
        raise UsageError(f"no file {path}")
    start = Path(path.anchor)
    files = sorted(f for f in start.glob(str(path.relative_to(start))) if f.is_file())
    if not files:
        raise UsageError(f"no file matches {path}")
    return files


def _read_file(path: Path) -> Any:
    name = path.name.lower()
    try:
        if name.endswith(PARQUET_SUFFIXES):
            return _read_parquet(path)
        if name.removesuffix(".gz").endswith(TEXT_SUFFIXES):
            return _read_delimited(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None
    raise _unknown_kind(path)


def _unknown_kind(path: Path) -> UsageError:
    known = ", ".join((*TEXT_SUFFIXES, *PARQUET_SUFFIXES))
    return UsageError(f"{path}: unknown kind of file; known endings: {known}, text also with .gz")


def _stacked(files: Sequence[Path], tables: Sequence[Any]) -> Any:
    """All tables below one another, columns in the order of the first."""
    import pyarrow as pa

    names = tables[0].column_names
    for file, table in zip(files, tables, strict=True):
        if odd := sorted(set(names) ^ set(table.column_names)):
            where = file if odd[0] in table.column_names else files[0]
            raise DataError(
                f"{files[0]} and {file} have different columns: only {where} has {odd[0]!r}"
            )
    try:
        return pa.concat_tables([t.select(names) for t in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"{files[0]} and the files beside it do not fit: {error}") from None


# -- Parquet --------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        _check_names(path, file.schema_arrow.names)
        table = file.read()
    except pa.ArrowException as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from None
    if table.num_rows == 0:
        raise DataError(f"{path} has columns but no rows")
    return _with_one_kind_of_missing(table)


def _parquet_parts(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20) as file:
            _check_names(path, file.schema_arrow.names)
            for batch in file.iter_batches(_PART_ROWS, use_threads=False):
                yield _with_one_kind_of_missing(pa.Table.from_batches([batch]))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from None


def _with_one_kind_of_missing(table: Any) -> Any:
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            table = table.set_column(position, field, _null_for_nan(table.column(position)))
    return table


def _null_for_nan(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    absent = pc.is_nan(column)
    if not pc.any(absent).as_py():
        return column
    return pc.if_else(absent, pa.scalar(None, column.type), column)


# -- delimited text -------------------------------------------------------------------------------


def _read_delimited(path: Path) -> Any:
    head = _head(path)
    for encoding in ("utf-8", *FALLBACK_ENCODINGS):
        try:
            return _Layout(path, head, encoding).read()
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path} is not text in a known encoding; save it as UTF-8")


def _encoding_of(path: Path) -> str:
    """The first of the known encodings in which all of the text is text."""
    for encoding in ("utf-8", *FALLBACK_ENCODINGS):
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            with _unpacked(path) as stream:
                while block := stream.read(_BLOCK):
                    decoder.decode(block)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path} is damaged: it cannot be unpacked ({error})") from None
        return encoding
    raise DataError(f"{path} is not text in a known encoding; save it as UTF-8")


def _head(path: Path) -> bytes:
    """The first bytes of the text, unpacked; checked to be text at all."""
    try:
        with _unpacked(path) as stream:
            head = stream.read(_HEAD)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged: it cannot be unpacked ({error})") from None
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{path} is UTF-16 text; save it as UTF-8")
    if b"\0" in head:
        raise DataError(f"{path} is not text, whatever its name says: it holds binary data")
    if not head.strip(b"\xef\xbb\xbf \t\r\n"):
        raise DataError(f"{path} is empty")
    return head


def _unpacked(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as stream:
        packed = stream.read(2) == _GZIP_MAGIC
    return gzip.open(path) if packed else path.open("rb")


class _Layout:
    """How one file of delimited text is laid out, in one encoding; raises UnicodeDecodeError."""

    def __init__(self, path: Path, head: bytes, encoding: str) -> None:
        self.path = path
        self.encoding = encoding
        lines = list(io.StringIO(_decoded(head, encoding), newline=""))
        self.blank_lines = next(k for k, line in enumerate(lines) if line.strip())
        lines = lines[self.blank_lines :]
        self.delimiter = _delimiter(path, "".join(lines))
        header = csv.reader(lines, delimiter=self.delimiter)
        try:
            self.names = next(header)
        except csv.Error as error:
            raise DataError(f"{path}: the header cannot be read: {error}") from None
        _check_names(path, self.names)
        if len(head) < _HEAD and not any(line.strip() for line in lines[header.line_num :]):
            raise DataError(f"{path} has a header but no rows")

    def read(self) -> Any:
        """The table; every column is text."""
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self._parsed()
        try:
            columns = [pc.cast(column, pa.string()) for column in table.columns]
        except pa.ArrowInvalid:  # Arrow's way to say that bytes are not UTF-8
            raise UnicodeDecodeError("utf-8", b"", 0, 0, "not UTF-8") from None
        self._check_last_quote(columns[-1])
        return pa.Table.from_arrays(columns, names=self.names)

    def parts(self) -> Iterator[Any]:
        """The table in consecutive parts of some megabytes; every column is text."""
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import csv as arrow_csv

        misfits: list[Any] = []
        last = None
        try:
            with (
                _unpacked(self.path) as stream,
                arrow_csv.open_csv(stream, **self._options(misfits, _PART_BYTES)) as reader,
            ):
                for batch in reader:
                    columns = [pc.cast(column, pa.string()) for column in batch.columns]
                    if batch.num_rows:
                        last = columns[-1]
                        yield pa.Table.from_arrays(columns, names=self.names)
        except pa.ArrowInvalid as error:
            raise self._misfit(misfits, error) from None
        except EOFError as error:
            raise DataError(f"{self.path} is damaged: {error}") from None
        if last is not None:
            self._check_last_quote(last)

    def _parsed(self) -> Any:
        """The table of raw bytes; misfits are looked for again row by row, to number them."""
        import pyarrow as pa

        misfits: list[Any] = []
        failure: pa.ArrowInvalid | None = None
        for threads in (True, False):
            misfits.clear()
            try:
                return self._pass(misfits, use_threads=threads)
            except pa.ArrowInvalid as error:
                failure = error
                if not misfits:
                    break
            except EOFError as error:
                raise DataError(f"{self.path} is damaged: {error}") from None
        raise self._misfit(misfits, failure)

    def _misfit(self, misfits: Sequence[Any], error: Exception | None) -> DataError:
        if not misfits:
            return DataError(
                f"{self.path} cannot be read: {error}; is a double quote never closed?"
            )
        row = misfits[0]
        return DataError(
            f"{self.path}: row {row.number} (the header is row 1) has {row.actual_columns} "
            f"fields where {row.expected_columns} are expected; put fields that hold "
            f"{self.delimiter!r} or a line break in double quotes"
        )

    def _pass(self, misfits: list[Any], *, use_threads: bool) -> Any:
        from pyarrow import csv as arrow_csv

        with _unpacked(self.path) as stream:
            return arrow_csv.read_csv(
                stream, **self._options(misfits, _BLOCK, use_threads=use_threads)
            )

    def _options(
        self, misfits: list[Any], block: int, *, use_threads: bool = False
    ) -> dict[str, Any]:
        """How Arrow is to read the file, in blocks; rows that do not fit join ``misfits``."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        def note(row: Any) -> str:
            misfits.append(row)
            return "error"

        positions = [str(k) for k in range(len(self.names))]  # names in the file may be anything
        return {
            "read_options": arrow_csv.ReadOptions(
                column_names=positions,
                skip_rows=self.blank_lines,
                skip_rows_after_names=1,
                block_size=block,
                encoding="utf8" if self.encoding == "utf-8" else self.encoding,
                use_threads=use_threads,
            ),
            "parse_options": arrow_csv.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=note
            ),
            "convert_options": arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(positions, pa.binary()), strings_can_be_null=False
            ),
        }

    def _check_last_quote(self, column: Any) -> None:
        """A quote never closed takes all that follows into one field, up to the last line break."""
        last = column[-1].as_py()
        if last.endswith("\n") and not _tail(self.path).rstrip().endswith(b'"'):
            raise DataError(
                f"{self.path}: the double quote before {last[:20]!r} near row {len(column) + 1} "
                "(the header is row 1) is never closed"
            )


def _tail(path: Path) -> bytes:
    """The last bytes of the text, unpacked."""
    tail = b""
    with _unpacked(path) as stream:
        while block := stream.read(_BLOCK):
            tail = (tail + block)[-1024:]
    return tail


def _decoded(head: bytes, encoding: str) -> str:
    decoder = "utf-8-sig" if encoding == "utf-8" else encoding
    try:
        return head.decode(decoder)
    except UnicodeDecodeError as error:
        if len(head) == _HEAD and error.start > _HEAD - 4:  # a character cut in two
            return head[: error.start].decode(decoder)
        raise


def _delimiter(path: Path, text: str) -> str:
    """The delimiter most frequent in the header outside quotes; the comma if there is none."""
    header = _HEADER.match(text)
    line = _QUOTED.sub("", header[0] if header else "")
    if path.name.lower().removesuffix(".gz").endswith(".tsv") and "\t" in line:
        return "\t"
    return max(DELIMITERS, key=line.count)


def _check_names(path: Path, names: Sequence[str]) -> None:
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise DataError(
                f"{path}: column {position} of {len(names)} has no name in the header; name it, "
                "or leave it out (pandas: to_csv(..., index=False))"
            )
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: several columns are named {', '.join(map(repr, twice))}")
