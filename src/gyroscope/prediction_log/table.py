"""Predictions and labels as Arrow tables: typed columns for any reader, and every value exactly.

A field of the rows is a column of its own: of numbers (float64), of truth values or of text,
whichever its first values were. What such a column cannot give back as it was, say a text among
numbers, is kept besides in the column ``exact``, as MessagePack by position in the row. Which
fields a row had, and in which order, says ``layout``, a number of a list in the metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import msgspec

from gyroscope.errors import LogError
from gyroscope.model import Label, Prediction, Value
from gyroscope.prediction_log.moments import microseconds, moment
from gyroscope.prediction_log.records import pack_values, unpack_values

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
METADATA_KEY = b"gyroscope"

# Names of the log itself, which no field gets: readers of folders add the partitions.
_OWN = {"id", "version", "time", "arrival", "score", "entity", "prediction_id"}
_OWN |= {"segment", "place", "layout", "exact", "model", "day"}

_LARGEST_WHOLE = 2**53  # up to here every integer is a float64

_Row = TypeVar("_Row", Prediction, Label)
Type = Literal["number", "truth", "text"]
Layout = tuple[str, ...]


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """How the values of one field of the rows are stored."""

    name: str
    column: str  # of the table: the name, unless the log needs that itself
    type: Type
    whole: bool = False  # numbers are integers unless ``exact`` says otherwise


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a table says of itself, in its metadata."""

    format: int = FORMAT
    segments: frozenset[str] = frozenset()  # names of those whose rows it has taken over
    layouts: tuple[Layout, ...] = ()
    fields: tuple[Field, ...] = ()
    scores: str = ""  # column with the scores of several classes; empty if no row has them

    @property
    def by_name(self) -> dict[str, Field]:
        """The fields by name."""
        return {field.name: field for field in self.fields}


class Place(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a row was first written."""

    segment: str  # name of the file
    number: int  # among the rows of its kind in there, from 0


class Kind(msgspec.Struct, Generic[_Row], frozen=True, kw_only=True):
    """What is particular to tables of predictions, or of labels."""

    name: str  # of the folder, too
    id_column: str
    by_arrival: bool  # filed by the day of arrival, else by that of the event
    heads: Callable[[Sequence[_Row]], dict[str, pa.Array]]
    row_of: Callable[[_Row], tuple[Layout, Sequence[Value]]]
    made: Callable[[pa.Table, Description, list[Layout], list[tuple[Value, ...]]], list[_Row]]
    scores_of: Callable[[_Row], tuple[float, ...] | None]  # of several classes, if the row has them


def decoded_description(metadata: dict[bytes, bytes] | None, file: str) -> Description:
    """Read the description from the metadata of a Parquet file.

    Raises:
        LogError: there is none, or its format is of another release.
    """
    try:
        described = msgspec.json.decode((metadata or {})[METADATA_KEY], type=Description)
    except (KeyError, msgspec.MsgspecError):
        raise LogError(f"{file} is not a table of this prediction log: move it elsewhere") from None
    if described.format != FORMAT:
        raise LogError(
            f"{file} has format {described.format} and this release reads format {FORMAT}: "
            "use the release that wrote it, or a later one"
        )
    return described


def extended(described: Description, kind: Kind[_Row], rows: Sequence[_Row]) -> Description:
    """The description with the layouts and fields that ``rows`` need as well."""
    layouts = dict.fromkeys([*described.layouts, *(kind.row_of(row)[0] for row in rows)])
    fields = described.by_name
    taken = _OWN | {f.column.casefold() for f in fields.values()} | {described.scores.casefold()}
    for name, values in _values_by_field(kind, rows).items():
        if name not in fields and (found := _type_of(values)) is not None:
            column = _free_name(name, taken)
            taken.add(column.casefold())
            fields[name] = Field(name=name, column=column, type=found[0], whole=found[1])
    scores = described.scores
    if not scores and any(kind.scores_of(row) is not None for row in rows):
        scores = _free_name("scores", taken)
    return msgspec.structs.replace(
        described, layouts=tuple(layouts), fields=tuple(fields.values()), scores=scores
    )


def _type_of(values: Iterable[Value]) -> tuple[Type, bool] | None:
    """The type most of the values have, and whether numbers are integers; None if all are None."""
    counts: dict[type, int] = {}
    for value in values:
        counts[type(value)] = counts.get(type(value), 0) + 1
    counts.pop(type(None), None)
    if not counts:
        return None
    numbers = counts.get(int, 0) + counts.get(float, 0)
    if numbers >= max(counts.get(str, 0), counts.get(bool, 0)):
        return "number", counts.get(int, 0) > counts.get(float, 0)
    return ("text" if counts.get(str, 0) >= counts.get(bool, 0) else "truth"), False


def _free_name(name: str, taken: set[str]) -> str:
    # Case does not tell columns apart in DuckDB, and a column needs a name.
    while not name or name.casefold() in taken:
        name = f"field_{name}"
    return name


def schema(kind: Kind[Any], described: Description) -> pa.Schema:
    """The columns of a table of this description, with the description as metadata."""
    import pyarrow as pa

    types = {"number": pa.float64(), "truth": pa.bool_(), "text": pa.string()}
    ends = [
        pa.field("segment", pa.string()),
        pa.field("place", pa.int64()),
        pa.field("layout", pa.int32()),
        pa.field("exact", pa.binary()),
    ]
    heads = [pa.field(name, array.type) for name, array in kind.heads([]).items()]
    if described.scores:
        heads.append(pa.field(described.scores, pa.list_(pa.float64())))
    fields = [pa.field(field.column, types[field.type]) for field in described.fields]
    return pa.schema(
        [*heads, *fields, *ends], metadata={METADATA_KEY: msgspec.json.encode(described)}
    )


def table_of(
    kind: Kind[_Row], described: Description, rows: Sequence[_Row], places: Sequence[Place]
) -> pa.Table:
    """Rows as a table; ``described`` must have been extended by them."""
    import pyarrow as pa

    target = schema(kind, described)
    number_of = {layout: number for number, layout in enumerate(described.layouts)}
    layouts = [kind.row_of(row)[0] for row in rows]
    exact: list[dict[str, Value]] = [{} for _ in rows]
    columns = kind.heads(rows)
    if described.scores:
        of_classes = [kind.scores_of(row) for row in rows]
        columns[described.scores] = pa.array(of_classes, pa.list_(pa.float64()))
    by_name = _values_by_field(kind, rows)
    for field in described.fields:
        values = by_name.get(field.name)
        if values is None:
            columns[field.column] = pa.nulls(len(rows), target.field(field.column).type)
        else:
            columns[field.column] = _array(field, values, exact)
    columns["segment"] = pa.array([place.segment for place in places], pa.string())
    columns["place"] = pa.array([place.number for place in places], pa.int64())
    columns["layout"] = pa.array([number_of[layout] for layout in layouts], pa.int32())
    packed = [
        pack_values({layout.index(name): value for name, value in values.items()})
        if values
        else None
        for layout, values in zip(layouts, exact, strict=True)
    ]
    columns["exact"] = pa.array(packed, pa.binary())
    return pa.table([columns[name] for name in target.names], schema=target)


def rows_of(kind: Kind[_Row], described: Description, table: pa.Table) -> list[_Row]:
    """The rows of a table as they were logged, in its order."""
    columns = {field.name: _list(field, table.column(field.column)) for field in described.fields}
    numbers = table.column("layout").to_pylist()
    layouts = [described.layouts[number] for number in numbers]
    values: list[tuple[Value, ...]] = [()] * len(numbers)
    absent: list[Value] = [None] * len(numbers)
    for number in set(numbers):
        of_layout = [columns.get(name) for name in described.layouts[number]]
        full = zip(*(absent if c is None else c for c in of_layout), strict=True)
        if of_layout:
            values = [
                new if found == number else old
                for old, new, found in zip(values, full, numbers, strict=True)
            ]
    for i, packed in enumerate(table.column("exact").to_pylist()):
        if packed is not None:
            row = list(values[i])
            for position, value in unpack_values(packed).items():
                row[position] = value
            values[i] = tuple(row)
    return kind.made(table, described, layouts, values)


def _values_by_field(kind: Kind[_Row], rows: Sequence[_Row]) -> dict[str, list[Value]]:
    """The values of each field, None in rows without it."""
    by_field: dict[str, list[Value]] = {}
    for i, row in enumerate(rows):
        for name, value in zip(*kind.row_of(row), strict=True):
            values = by_field.get(name)
            if values is None:
                values = by_field[name] = [None] * len(rows)
            values[i] = value
    return by_field


def _array(field: Field, values: list[Value], exact: list[dict[str, Value]]) -> pa.Array:
    """The column of a field; notes in ``exact`` what it cannot give back."""
    import pyarrow as pa

    if field.type != "number":
        wanted, arrow = (str, pa.string()) if field.type == "text" else (bool, pa.bool_())
        plain: list[Value] = [value if type(value) is wanted else None for value in values]
    else:
        arrow = pa.float64()
        plain = [_as_float(value) for value in values]
    for i, (value, stored) in enumerate(zip(values, plain, strict=True)):
        if value is not None and not _gives_back(field, value, stored):
            exact[i][field.name] = value
    return pa.array(plain, arrow)


def _as_float(value: Value) -> float | None:
    if type(value) is float:
        return value
    if type(value) is not int:
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _gives_back(field: Field, value: Value, stored: Value) -> bool:
    if stored is None:
        return False
    if field.type != "number":
        return True
    if field.whole:
        return type(value) is int and abs(value) <= _LARGEST_WHOLE
    return type(value) is float


def _list(field: Field, column: pa.ChunkedArray) -> list[Value]:
    values: list[Value] = column.to_pylist()
    if field.whole:
        return [int(v) if isinstance(v, float) and v.is_integer() else v for v in values]
    return values


def _times(times: Sequence[datetime]) -> pa.Array:
    import pyarrow as pa

    return pa.array([microseconds(time) for time in times], pa.int64()).cast(
        pa.timestamp("us", tz="UTC")
    )


def _moments(column: pa.ChunkedArray) -> list[datetime]:
    import pyarrow as pa

    return [moment(value) for value in column.cast(pa.int64()).to_pylist()]


def _prediction_heads(rows: Sequence[Prediction]) -> dict[str, pa.Array]:
    import pyarrow as pa

    return {
        "id": pa.array([row.id for row in rows], pa.string()),
        "version": pa.array([row.version for row in rows], pa.int64()),
        "time": _times([row.time for row in rows]),
        "arrival": _times([row.arrival for row in rows]),
        "score": pa.array(
            [None if isinstance(row.score, tuple) else row.score for row in rows], pa.float64()
        ),
        "entity": pa.array([row.entity for row in rows], pa.string()),
    }


def _predictions(
    table: pa.Table, described: Description, layouts: list[Layout], values: list[tuple[Value, ...]]
) -> list[Prediction]:
    names = ("id", "version", "entity", "score")
    heads = [table.column(name).to_pylist() for name in names]
    if described.scores:
        of_classes = table.column(described.scores).to_pylist()
        heads[3] = [s if k is None else tuple(k) for s, k in zip(heads[3], of_classes, strict=True)]
    times = [_moments(table.column(name)) for name in ("time", "arrival")]
    return [
        Prediction(
            id=id_,
            version=version,
            time=time,
            arrival=arrival,
            columns=columns,
            row=row,
            score=score,
            entity=entity,
        )
        for id_, version, entity, score, time, arrival, columns, row in zip(
            *heads, *times, layouts, values, strict=True
        )
    ]


def _label_heads(rows: Sequence[Label]) -> dict[str, pa.Array]:
    import pyarrow as pa

    return {
        "prediction_id": pa.array([row.prediction_id for row in rows], pa.string()),
        "time": _times([row.time for row in rows]),
        "arrival": _times([row.arrival for row in rows]),
    }


def _labels(
    table: pa.Table, described: Description, layouts: list[Layout], values: list[tuple[Value, ...]]
) -> list[Label]:
    heads = (
        table.column("prediction_id").to_pylist(),
        _moments(table.column("time")),
        _moments(table.column("arrival")),
    )
    return [
        Label(prediction_id=id_, label=label, time=time, arrival=arrival)
        for id_, time, arrival, (label,) in zip(*heads, values, strict=True)
    ]


PREDICTIONS: Kind[Prediction] = Kind(
    name="predictions",
    id_column="id",
    by_arrival=False,
    heads=_prediction_heads,
    row_of=lambda row: (row.columns, row.row),
    made=_predictions,
    scores_of=lambda row: row.score if isinstance(row.score, tuple) else None,
)
LABELS: Kind[Label] = Kind(
    name="labels",
    id_column="prediction_id",
    by_arrival=True,
    heads=_label_heads,
    row_of=lambda row: (("label",), (row.label,)),
    made=_labels,
    scores_of=lambda row: None,
)
