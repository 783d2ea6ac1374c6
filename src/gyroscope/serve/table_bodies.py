"""From an Arrow stream or a Parquet file in a body to the rows that JSON would have brought.

Runs in a process of its own (:mod:`gyroscope.serve.table_reader`): bytes that a stranger made can
let Arrow allocate without end, and abort the process that reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from gyroscope.data.codec import Codec
from gyroscope.data.contract import Contract, Role
from gyroscope.errors import FieldProblem, RequestError
from gyroscope.model import Value
from gyroscope.serve.arrow_values import Given, values_of
from gyroscope.serve.http import ARROW, PARQUET
from gyroscope.serve.requests import check_count
from gyroscope.serve.strict_json import Unfit
from gyroscope.serve.wide_integers import wide_integers

_NAMES = {ARROW: "Arrow stream", PARQUET: "Parquet file"}
_ARROW_FILE = b"ARROW1"  # how a file begins, also known as Feather
_ROWS_AT_ONCE = 16_384  # that are unpacked before they are counted
_NOT_READ = (Role.IGNORED, Role.WEIGHT)

Rows = list[dict[str, Value]]
Arrays = dict[str, list[Any]]  # of each column


def table_rows(
    body: bytes, kind: str, contract: Contract, *, most_rows: int, most_bytes: int
) -> tuple[Rows, list[FieldProblem]]:
    """The rows of a table, null for each value that cannot be used, and what is wrong with it.

    Args:
        body: of the content type ``kind``, ARROW or PARQUET.
        contract: which columns are read, and as what.
        most_rows: rows, at most.
        most_bytes: bytes of all texts once they are written out, at most.

    Raises:
        RequestError: 400 not what the type says, 413 too large, 422 no rows, or columns that Arrow
            itself does not read.
    """
    import pyarrow as pa

    read = {ARROW: _arrow_columns, PARQUET: _parquet_columns}[kind]
    columns = _Columns(contract)
    try:
        n, given = read(body, columns, most_rows)
        size = sum(_text_bytes(array) for arrays in given.values() for array in arrays)
    except MemoryError:
        raise _too_large(most_bytes) from None
    except (pa.ArrowException, OSError, ValueError, OverflowError):
        # Arrow's own message is kept back: it may quote values.
        columns.check_widths(body)
        advice = ""
        if body.startswith(_ARROW_FILE):
            advice = ": it is an Arrow file, write it as a stream"
        raise RequestError(400, f"the body is not a readable {_NAMES[kind]}{advice}") from None
    check_count(n, most_rows, "rows")
    if size > most_bytes:
        raise _too_large(most_bytes)
    return columns.rows(n, given), columns.problems


def _too_large(most_bytes: int) -> RequestError:
    return RequestError(
        413,
        f"a table may have at most {most_bytes:,} bytes once it is unpacked: "
        "send the rows in several requests, or raise max_body_mb",
    )


# -- the two formats --------------------------------------------------------------------------


def _arrow_columns(body: bytes, columns: _Columns, most_rows: int) -> tuple[int, Arrays]:
    """The number of rows, and the columns to read."""
    import pyarrow as pa

    with pa.ipc.open_stream(pa.BufferReader(body)) as reader:
        wanted = columns.choose(reader.schema)
        given: Arrays = {name: [] for name in wanted}
        n = 0
        for batch in reader:
            n += batch.num_rows
            _check_most(n, most_rows)
            for name, position in wanted.items():
                array = batch.column(position)
                array.validate(full=True)  # offsets and codes that point elsewhere
                given[name].append(array)
    return n, given


def _parquet_columns(body: bytes, columns: _Columns, most_rows: int) -> tuple[int, Arrays]:
    """As above. Texts stay in dictionaries, so that few bytes do not become many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(pa.BufferReader(body)) as file:
        _check_most(file.metadata.num_rows, most_rows)
        schema = file.schema_arrow
    wanted = columns.choose(schema)
    texts = [name for name in wanted if pa.types.is_string(schema.field(name).type)]
    given: Arrays = {name: [] for name in wanted}
    n = 0
    with pq.ParquetFile(pa.BufferReader(body), read_dictionary=texts) as file:
        batches = file.iter_batches(
            min(most_rows, _ROWS_AT_ONCE), columns=list(wanted), use_threads=False
        )
        for batch in batches:  # counted here, since a footer may say what is not so
            n += batch.num_rows
            _check_most(n, most_rows)
            batch.validate(full=True)
            for name in wanted:
                given[name].append(batch.column(name))
    return n, given


def _check_most(n: int, most: int) -> None:
    """Refuse too many rows before they are read; none so far is no fault."""
    check_count(max(n, 1), most, "rows")


def _text_bytes(array: Any) -> int:
    """The bytes of all texts of an array, each counted as often as it stands there."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_dictionary(array.type):
        lengths = _lengths(array.dictionary)
        lengths = None if lengths is None else lengths.take(array.indices)
    else:
        lengths = _lengths(array)
    return 0 if lengths is None else int(pc.sum(lengths).as_py() or 0)


def _lengths(array: Any) -> Any:
    """The bytes of each text of an array; None if it holds none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        return pc.binary_length(array).cast(pa.int64())
    return None


# -- columns to rows ----------------------------------------------------------------------------


class _Columns:
    """Reads columns as the contract wants them and collects all that is wrong with them."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._columns = {column.name: column for column in contract.columns}
        self.problems: list[FieldProblem] = []

    def choose(self, schema: Any) -> dict[str, int]:
        """The columns to read, with their positions; the others are faults, or are not read."""
        names: list[str] = schema.names
        times = Counter(names)
        for name, given in times.items():
            column = self._columns.get(name)
            if given > 1:
                self._fault(name, "the column twice", "each column once")
            elif column is None:
                self._fault(name, "a column", "no such field; it is not in the contract")
            elif column.role is Role.TARGET:
                self._fault(name, "a column", "not to be sent: it is what the model predicts")
        for column in self._contract.features:
            if column.name not in times:
                self._fault(column.name, "nothing", Codec(column).expected)
        faulty = {problem.field for problem in self.problems}
        return {
            name: position
            for position, name in enumerate(names)
            if name not in faulty and self._columns[name].role not in _NOT_READ
        }

    def check_widths(self, body: bytes) -> None:
        """Raise RequestError if a table is not read since its integers are too wide for Arrow."""
        names = wide_integers(body)
        for name in names:
            column = self._columns.get(name)
            expected = "no such field; it is not in the contract"
            if column is not None:
                expected = Codec(column).expected
            self._fault(name, "a column of integers of more than 64 bits", expected)
        if names:
            raise RequestError(422, "the table does not fit the contract", self.problems)

    def rows(self, n: int, given: Arrays) -> Rows:
        """The rows, null for values that cannot be used."""
        values: dict[str, list[Value]] = {}
        for name, arrays in given.items():
            column = self._columns[name]
            read = [values_of(array, column) for array in arrays]
            if any(one is None for one in read):
                self._fault(name, f"a column of {arrays[0].type}"[:60], Codec(column).expected)
            else:
                values[name] = self._usable(name, [v for one in read for v in one or ()])
        return _rows(values, n)

    def _usable(self, name: str, values: list[Given]) -> list[Value]:
        usable: list[Value] = []
        for row, value in enumerate(values):
            if isinstance(value, Unfit):
                self._fault(name, value.given, value.expected, row)
            usable.append(None if isinstance(value, Unfit) else value)
        return usable

    def _fault(self, name: str, given: str, expected: str, row: int | None = None) -> None:
        self.problems.append(FieldProblem(row=row, field=name, given=given, expected=expected))


def _rows(columns: Mapping[str, Sequence[Value]], n: int) -> Rows:
    """Rows from columns of equal length ``n``."""
    if not columns:
        return [{} for _ in range(n)]
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
