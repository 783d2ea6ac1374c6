"""The contract compiled: from rows and tables to the matrix the model sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from gyroscope.data.arrow import EncodedColumn, encode_column
from gyroscope.data.codec import MISSING, Codec, PlainValue, kind_of, label_text, shorten
from gyroscope.data.contract import Column, Contract, Role
from gyroscope.data.plain_rows import PlainForm, PlainRows, Row, Values
from gyroscope.errors import ContractError, DataError, FieldProblem, RowError
from gyroscope.model import Value

LARGEST_AMOUNT = 1e100  # of a target; squares of errors must be numbers
_FEW = 8  # rows that are encoded one by one: whole columns cost less from about here on

Matrix = NDArray[np.float64]
RowNumbers = Sequence[float | None] | NDArray[np.float64]  # of one row; None if missing


class EncodedTable(msgspec.Struct, frozen=True, kw_only=True):
    """A table after encoding."""

    X: Matrix  # float64[n, p]
    fits: NDArray[np.bool_]  # bool[n]: rows in which every field fits the contract
    problems: tuple[FieldProblem, ...]  # the first misfit of each column


def matrix_of(rows: Sequence[RowNumbers]) -> Matrix:
    """Rows side by side, ``float64[n, p]``."""
    return np.array(rows, dtype=np.float64) + 0.0  # -0.0 becomes 0.0: an integer has no sign


class Encoder:
    """Encodes rows, tables and logged rows by one contract.

    Raises ContractError if a value of the target is positive in one spelling and negative in
    another.
    """

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self._features = [Codec(column) for column in contract.features]
        self._numbers = [(codec.column.name, codec.number) for codec in self._features]
        names = [codec.column.name for codec in self._features]
        self._values_of = _getter(names)
        self._coded = [(j, c.codes, c) for j, c in enumerate(self._features) if not c.plain]
        self._carried = [Codec(column) for column in contract.sensitive]
        self._target = Codec(msgspec.structs.replace(contract.target, nullable=True))
        self._time = None if contract.time is None else Codec(contract.time)
        self._id = None if contract.id is None else Codec(contract.id)
        self._checked = [*self._carried, *([] if self._time is None else [self._time])]
        self._optional = {
            c.name for c in contract.columns if c.role not in (Role.FEATURE, Role.TARGET)
        }
        self._known = self._optional | {c.name for c in contract.features}
        self._labels = _labels(contract)
        self.logged_columns = tuple(c.column.name for c in (*self._features, *self._carried))

    # -- rows, as a client sends them -----------------------------------------------------------

    @cached_property
    def plain_form(self) -> PlainForm | None:
        """The form of rows of which most is already known to fit once they are decoded.

        It leaves open the values of columns that are not plain. None if a name is too odd for it.
        """
        required = {
            c.column.name: c.plain_type() if c.plain else PlainValue for c in self._features
        }
        carried = [codec.column.name for codec in self._carried]  # logged, so before the others
        others = [c.name for c in self.contract.columns if c.name in self._optional]
        try:
            return PlainForm(required, dict.fromkeys([*carried, *others], PlainValue))
        except ValueError:
            return None

    def encode_plain_rows(self, rows: Sequence[Row]) -> Matrix:
        """What :meth:`encode_rows` says of :class:`PlainRows` of :attr:`plain_form`."""
        assert isinstance(rows, PlainRows)
        try:
            if len(rows) < _FEW:
                X = matrix_of(list(map(self._numbers_of, rows.values)))
            else:
                columns: list[Any] = list(zip(*rows.values, strict=True))[: len(self._features)]
                for j, codes, codec in self._coded:
                    found = list(map(codes.get, columns[j]))
                    columns[j] = codec.numbers_of(columns[j]) if None in found else found
                X = np.empty((len(rows), len(columns)))
                for j, column in enumerate(columns):
                    X[:, j] = column
                X += 0.0  # as in matrix_of
            self._check(rows)
        except ValueError:
            return self.encode_rows(list(rows))  # which says what is wrong
        return X

    def encode_plain_row(self, rows: Sequence[Row]) -> RowNumbers:
        """The only one of :class:`PlainRows` of :attr:`plain_form`, for :func:`matrix_of`.

        Raises:
            RowError: names every field that breaks the contract.
        """
        assert isinstance(rows, PlainRows)
        try:
            self._check(rows)
            return self._numbers_of(rows.values[0])
        except ValueError:
            found: RowNumbers = self.encode_rows(list(rows))[0]
            return found

    def _numbers_of(self, row: Values) -> RowNumbers:
        values: list[Any] = list(row[: len(self._features)])
        for j, codes, codec in self._coded:
            code = codes.get(values[j])
            values[j] = codec.number(values[j]) if code is None else code
        return values

    def _check(self, rows: PlainRows) -> None:
        for codec in self._checked:
            for value in rows.column(codec.column.name):
                if value is not None:
                    codec.number(value)

    def encode_rows(self, rows: Sequence[Row]) -> Matrix:
        """Encode rows as a client sends them to ``float64[n, p]``.

        Every feature must be there; the time, id, sensitive, weight and ignored columns may be.

        Raises:
            RowError: names every field of every row that breaks the contract.
        """
        X = np.empty((len(rows), len(self._features)))
        try:
            if len(rows) < _FEW:
                for i, row in enumerate(rows):
                    X[i] = [number(row[name]) for name, number in self._numbers]
            else:
                for j, codec in enumerate(self._features):
                    name = codec.column.name
                    X[:, j] = codec.numbers_of([row[name] for row in rows])
        except (KeyError, ValueError):
            problems = [p for i, row in enumerate(rows) for p in self._problems(i, row)]
        else:
            problems = [p for i, row in enumerate(rows) for p in self._other_problems(i, row)]
        if problems:
            raise RowError(problems)
        return X

    def _problems(self, i: int, row: Row) -> list[FieldProblem]:
        """All that is wrong with a row."""
        return [*self._feature_problems(i, row), *self._other_problems(i, row)]

    def _feature_problems(self, i: int, row: Row) -> list[FieldProblem]:
        """What is wrong with the features, all of them."""
        problems = []
        for codec in self._features:
            try:
                codec.number(row[codec.column.name])
            except (KeyError, ValueError):
                problems.append(_problem(i, codec, row))
        return problems

    def _other_problems(self, i: int, row: Row) -> list[FieldProblem]:
        """What is wrong outside the features: fields that must not be there, or do not fit."""
        problems = []
        if not row.keys() <= self._known:
            for name in row.keys() - self._known:
                target = name == self._target.column.name
                expected = (
                    "not to be sent: it is what the model predicts"
                    if target
                    else "no such field; it is not in the contract"
                )
                problems.append(
                    FieldProblem(row=i, field=name, given=kind_of(row[name]), expected=expected)
                )
        for codec in self._checked:
            value = row.get(codec.column.name)
            if value is None:
                continue
            try:
                codec.number(value)
            except ValueError:
                problems.append(_problem(i, codec, row))
        return problems

    def event_times(self, rows: Sequence[Row]) -> list[datetime | None]:
        """The event time of each row that has one, zone-aware; rows must have passed encoding."""
        codec = self._time
        if codec is None:
            return [None] * len(rows)
        given = _given(rows, codec)
        return [None if codec.is_missing(value) else codec.moment(value) for value in given]

    def entities(self, rows: Sequence[Row]) -> list[str | None]:
        """The value of the id column of each row as text; None where there is none."""
        codec = self._id
        if codec is None:
            return [None] * len(rows)
        given = _given(rows, codec)
        return [None if codec.is_missing(value) else str(value).strip() for value in given]

    def logged(self, row: Row) -> tuple[Value, ...]:
        """The values of a row that the prediction log keeps, in the order of logged_columns: first
        the features.

        The row must have passed encoding.
        """
        values = self._values_of(row)
        if not self._carried:
            return values
        return (*values, *[row.get(codec.column.name) for codec in self._carried])

    def logged_rows(self, rows: Sequence[Row]) -> list[tuple[Value, ...]]:
        """What :meth:`logged` says of each of many rows."""
        if not isinstance(rows, PlainRows) or rows.form is not self.plain_form:
            return list(map(self.logged, rows))
        values: list[Any] = rows.values
        p, width = len(self._features), len(self.logged_columns)
        if self._carried:
            return [
                (*row[:p], *[None if value is UNSET else value for value in row[p:width]])
                for row in values
            ]
        return values if width == len(rows.form.names) else [row[:p] for row in values]

    # -- rows, as the prediction log gives them back --------------------------------------------

    def encode_logged(
        self, columns: Sequence[str], rows: Sequence[Sequence[Value]]
    ) -> EncodedTable:
        """Encode logged rows, also those of another version's contract.

        A column the log does not have counts as missing if the contract allows it; a value that
        does not fit makes its row not fit, never an error.
        """
        X = np.full((len(rows), len(self._features)), MISSING)
        fits = np.ones(len(rows), dtype=bool)
        problems: list[FieldProblem] = []
        positions = {name: k for k, name in enumerate(columns)}
        for j, codec in enumerate(self._features):
            k = positions.get(codec.column.name)
            first = True
            for i, row in enumerate(rows):
                value = None if k is None else row[k]
                try:
                    X[i, j] = codec.number(value)
                except ValueError:
                    fits[i] = False
                    if first:
                        given = {} if k is None else {codec.column.name: value}
                        problems.append(_problem(i, codec, given))
                        first = False
        return EncodedTable(X=X, fits=fits, problems=tuple(problems))

    # -- tables, as training reads them ---------------------------------------------------------

    def encode_table(self, table: Any) -> EncodedTable:
        """Encode an Arrow table to ``float64[n, p]``.

        Raises:
            DataError: a feature column is absent.
        """
        X = np.empty((table.num_rows, len(self._features)))
        fits = np.ones(table.num_rows, dtype=bool)
        problems: list[FieldProblem] = []
        for j, codec in enumerate(self._features):
            column = encode_column(codec, _column_of(table, codec.column))
            X[:, j] = column.values
            if column.bad.size:
                fits[column.bad] = False
                problems.append(_table_problem(codec, column))
        return EncodedTable(X=X, fits=fits, problems=tuple(problems))

    def encode_target(self, table: Any) -> NDArray[np.float64]:
        """The target of an Arrow table as :meth:`label` gives it, ``float64[n]``; NaN if missing.

        Raises:
            DataError: the column is absent or has a value that the contract does not list, or that
                is no number.
        """
        if self.contract.task == "regression":
            return self._encode_amounts(table)
        array = _column_of(table, self.contract.target).combine_chunks()
        array = array if hasattr(array, "dictionary") else array.dictionary_encode()
        values = array.dictionary.to_pylist()
        indices = array.indices.cast("int64").fill_null(len(values)).to_numpy(zero_copy_only=False)
        lookup = np.full(len(values) + 1, MISSING)
        for k in np.unique(indices[indices < len(values)]):  # a dictionary may list unused values
            lookup[k] = self._target_number(values[k])
        encoded: NDArray[np.float64] = lookup[indices]
        return encoded

    def _encode_amounts(self, table: Any) -> NDArray[np.float64]:
        found = encode_column(self._target, _column_of(table, self.contract.target))
        if found.bad.size:
            raise DataError(
                f"target column {self.contract.target.name}, row {int(found.bad[0]) + 1}: found "
                f"{found.first_bad}, expected {self._target.expected}; leave such rows out, or "
                "list the value as missing"
            )
        large = np.flatnonzero(np.abs(found.values) > LARGEST_AMOUNT)
        if large.size:
            raise DataError(
                f"target column {self.contract.target.name}, row {int(large[0]) + 1}: found "
                f"{found.values[large[0]]:g}, expected a number of at most {LARGEST_AMOUNT:g}; "
                "leave such rows out, or list the value as missing"
            )
        return found.values

    def _target_number(self, value: Any) -> float:
        if self._target.is_missing(value) or (isinstance(value, float) and math.isnan(value)):
            return MISSING
        try:
            return self.label(value)
        except ValueError as error:
            raise DataError(
                f"target column {self.contract.target.name}: found {shorten(value)}, {error}; "
                f"leave such rows out, or list the value as {self._listing} or missing"
            ) from None

    @property
    def _listing(self) -> str:
        return "positive, negative" if self.contract.task == "binary" else "a class"

    def encode_role(self, table: Any, column: Column) -> EncodedColumn:
        """Encode one column outside the features, such as the time or the weight."""
        return encode_column(Codec(column), _column_of(table, column))

    # -- labels ---------------------------------------------------------------------------------

    def label(self, value: Value) -> float:
        """What models are trained on: 1.0 for a positive value of the target, 0.0 for a negative
        one; the position of its class, from 0; or the number itself.

        Raises:
            ValueError: the value is in no class, or no number; the message says what fits.
        """
        if self.contract.task == "regression":
            return self._amount(value)
        number = None if value is None else self._labels.get(label_text(value))
        if number is None:
            raise ValueError(f"expected one of {', '.join(self.contract.labels)}")
        return number

    def _amount(self, value: Value) -> float:
        read = self._target.number_of_text if isinstance(value, str) else self._target.number
        try:
            number = read(value)  # type: ignore[arg-type]  # a text if it reads texts
        except ValueError:
            number = MISSING
        if math.isnan(number):
            raise ValueError(f"expected {self._target.expected.removesuffix(' or null')}")
        if abs(number) > LARGEST_AMOUNT:
            raise ValueError(f"expected a number of at most {LARGEST_AMOUNT:g}")
        return number


def _given(rows: Sequence[Row], codec: Codec) -> list[Value]:
    """The values of a column that rows need not have; None where they have not."""
    name = codec.column.name
    return rows.column(name) if isinstance(rows, PlainRows) else [row.get(name) for row in rows]


def _getter(names: list[str]) -> Callable[[Row], tuple[Value, ...]]:
    """Gives the values of a row by these names; raises KeyError."""
    if len(names) == 1:  # for which itemgetter gives no tuple
        return lambda row: (row[names[0]],)
    return itemgetter(*names)


def _labels(contract: Contract) -> dict[str, float]:
    """The number of each spelling of a label."""
    sides = [(text, 1.0) for text in contract.positive] + [(t, 0.0) for t in contract.negative]
    given = sides or [(text, float(k)) for k, text in enumerate(contract.classes)]
    labels: dict[str, float] = {}
    for text, number in given:
        if labels.setdefault(label_text(text), number) != number:
            what = "positive and negative values" if sides else "classes"
            raise ContractError(
                f"{what} of the target cannot be told apart: {label_text(text)!r} is both, in "
                "different spellings"
            )
    return labels


def _column_of(table: Any, column: Column) -> Any:
    if column.name not in table.column_names:
        raise DataError(
            f"the data have no column {column.name!r}, which the contract lists as {column.role}; "
            f"they have: {', '.join(table.column_names)}"
        )
    return table.column(column.name)


def _problem(i: int, codec: Codec, row: Row) -> FieldProblem:
    name = codec.column.name
    given = kind_of(row[name]) if name in row else "nothing"
    return FieldProblem(row=i, field=name, given=given, expected=codec.expected)


def _table_problem(codec: Codec, column: EncodedColumn) -> FieldProblem:
    return FieldProblem(
        row=int(column.bad[0]),
        field=codec.column.name,
        given=f"{column.first_bad} and {column.bad.size - 1} more"
        if column.bad.size > 1
        else column.first_bad,
        expected=codec.expected,
    )
