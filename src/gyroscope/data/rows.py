"""From a table to rows as a client of the server sends them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

from gyroscope.data.codec import EXACT_INTEGERS, Codec, plain_number
from gyroscope.data.contract import Column, Contract, Role
from gyroscope.model import Value

Row = dict[str, Value]
_INTEGER = re.compile(r"[+-]?[0-9]+")


def json_rows(table: Any, contract: Contract, *, batch: int = 1000) -> Iterator[list[Row]]:
    """Batches of rows of an Arrow table as JSON values, without target and unknown columns.

    Text that should be a number and is none is passed on as it is: the server names it.
    """
    wanted = [
        column
        for column in contract.columns
        if column.name in table.column_names
        and column.role not in (Role.TARGET, Role.IGNORED, Role.WEIGHT)
    ]
    readers = [(column.name, _reader(column)) for column in wanted]
    for start in range(0, table.num_rows, batch):
        part = table.slice(start, batch)
        columns = [
            [read(value) for value in part.column(name).to_pylist()] for name, read in readers
        ]
        names = [name for name, _ in readers]
        yield [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _reader(column: Column) -> Callable[[Any], Value]:
    codec = Codec(column)

    def read(value: Any) -> Value:
        if value is None or value != value or codec.is_missing(value):  # noqa: PLR0124 (NaN)
            return None
        if isinstance(value, datetime | date):
            return value.strftime(column.format) if column.format else value.isoformat()
        if isinstance(value, bool | int | float):
            return value
        text = str(value).strip()
        return _number(text) if codec.numeric else text

    return read


def _number(text: str) -> Value:
    number = plain_number(text)
    if number is None:
        return text
    return int(text) if _INTEGER.fullmatch(text) and abs(number) < EXACT_INTEGERS else number
