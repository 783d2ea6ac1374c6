"""``gyro predict`` and ``gyro label``: files against a running server."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gyroscope.cli.options import HERE, WorkspaceOption, console
from gyroscope.errors import (
    DataError,
    FieldProblem,
    NotFoundError,
    RequestError,
    RowError,
    UsageError,
)

if TYPE_CHECKING:
    from gyroscope.app import Workspace
    from gyroscope.client import Client
    from gyroscope.data.contract import Contract
    from gyroscope.model import Value

_MOST_ROWS = 500  # in a request
_MOST_CELLS = 25_000  # in a request, so that wide rows keep to the size of body that is accepted
_TOO_LARGE = 413  # status
_ANSWERED = ("prediction_id", "probability", "prediction")  # columns of the output

UrlOption = Annotated[
    str | None, typer.Option(help="Address of the server; default: the one this workspace runs.")
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Name of the model.")]
Row = dict[str, "Value"]
Answer = TypeVar("Answer")


def predict(
    data: Annotated[Path, typer.Argument(help="CSV or Parquet file with rows to predict.")],
    output: Annotated[Path, typer.Argument(help="CSV file for the predictions.")],
    model: ModelOption = None,
    workspace: WorkspaceOption = HERE,
    url: UrlOption = None,
) -> None:
    """Send the rows of a file to the running server and write what it predicts."""
    from gyroscope.app import Workspace
    from gyroscope.data.sources import read_table

    space = Workspace(workspace)
    name = space.model(model)
    _check_output(data, output)
    table = read_table(data)
    partial = output.with_name(output.name + ".part")
    with client(space, url) as server:
        contract = _contract(server, name)
        _check_rows(data, table, contract)
        with partial.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(_predictions(server, name, data, table, contract))
    partial.replace(output)
    console().print(f"{table.num_rows:,} predictions are in {output}")


def _check_output(data: Path, output: Path) -> None:
    if output.is_dir():
        raise UsageError(f"{output} is a folder; name a file for the predictions")
    if not output.parent.is_dir():
        raise UsageError(f"no folder {output.parent} to write {output.name} to; make it first")
    if output.exists() and data.exists() and output.samefile(data):
        raise UsageError(f"{output} is the file with the rows; name another for the predictions")


def _contract(server: Client, model: str) -> Contract:
    """What the champion that serves expects of rows and labels."""
    import msgspec

    from gyroscope.data.contract import Contract

    return msgspec.convert(server.get(f"/v1/models/{model}")["contract"], Contract)


def _check_rows(data: Path, table: Any, contract: Contract) -> None:
    """Refuse a file before any of it is sent: what is predicted for half of it stays on record."""
    from gyroscope.data.encoder import Encoder

    if problems := Encoder(contract).encode_table(table).problems:
        raise DataError(f"nothing was sent: {_told(data, problems, range(1, table.num_rows + 1))}")


def _predictions(
    server: Client, model: str, data: Path, table: Any, contract: Contract
) -> Iterator[Sequence[object]]:
    """The lines of the output, the header first."""
    from rich.progress import track

    from gyroscope.data.rows import json_rows

    def send(rows: Sequence[Row]) -> list[dict[str, Any]]:
        return server.predict(model, rows)

    keep = [c.name for c in (contract.id,) if c is not None and c.name in table.column_names]
    yield [*(f"given_{name}" if name in _ANSWERED else name for name in keep), *_ANSWERED]
    size = max(1, min(_MOST_ROWS, _MOST_CELLS // len(contract.columns)))
    batches = json_rows(table, contract, batch=size)
    steps = -(-table.num_rows // size)
    first = 1
    for rows in track(batches, "predicting", total=steps, console=console()):
        numbers = range(first, first + len(rows))
        made = [one for part in _sent(send, rows, numbers, data) for one in part]
        for row, one in zip(rows, made, strict=True):
            kept = [row[name] for name in keep]
            yield [*kept, one["prediction_id"], one["probability"], one["label"]]
        first += len(rows)


def label(
    data: Annotated[Path, typer.Argument(help="CSV or Parquet file with labels.")],
    column: Annotated[
        str | None, typer.Option(help="Column with the labels; default: the target's name.")
    ] = None,
    model: ModelOption = None,
    workspace: WorkspaceOption = HERE,
    url: UrlOption = None,
) -> None:
    """Send labels that have become known: a file with prediction_id and the target column."""
    from gyroscope.app import Workspace
    from gyroscope.data.sources import read_table

    space = Workspace(workspace)
    name = space.model(model)
    table = read_table(data)

    with client(space, url) as server:

        def send(rows: Sequence[Row]) -> dict[str, Any]:
            return server.label(name, rows)

        labels = _labels(data, table, column, _contract(server, name))
        answers = []
        for first in range(0, len(labels), _MOST_ROWS):
            part = labels[first : first + _MOST_ROWS]
            rows, numbers = [row for _, row in part], [number for number, _ in part]
            answers += _sent(send, rows, numbers, data)
    console().print(
        f"{sum(answer['accepted'] for answer in answers):,} labels accepted, "
        f"{sum(len(answer['unknown']) for answer in answers):,} for unknown predictions, "
        f"{table.num_rows - len(labels):,} rows without a label"
    )


def _labels(
    data: Path, table: Any, column: str | None, contract: Contract
) -> list[tuple[int, Row]]:
    """The labels that a table has, each with the number of its row."""
    from gyroscope.data.codec import Codec

    name = column or contract.target.name
    for needed in ("prediction_id", name):
        if needed not in table.column_names:
            raise DataError(
                f"{data} has no column {needed!r}; it has: {', '.join(table.column_names)}"
            )
    is_missing = Codec(contract.target).is_missing
    ids, values = table.column("prediction_id").to_pylist(), table.column(name).to_pylist()
    plain = (v if isinstance(v, str | int | float | None) else str(v) for v in values)
    return [
        (number, {"prediction_id": given, "label": value})
        for number, (given, value) in enumerate(zip(ids, plain, strict=True), start=1)
        if not is_missing(value)
    ]


def _sent(
    send: Callable[[Sequence[Row]], Answer],
    rows: Sequence[Row],
    numbers: Sequence[int],
    data: Path,
) -> list[Answer]:
    """The answers to rows, sent in smaller parts if the server finds them too many at once."""
    try:
        return [send(rows)]
    except RequestError as refused:
        if refused.status == _TOO_LARGE and len(rows) > 1:
            half = len(rows) // 2
            first = _sent(send, rows[:half], numbers[:half], data)
            return [*first, *_sent(send, rows[half:], numbers[half:], data)]
        if not refused.problems:
            raise
        raise DataError(_told(data, refused.problems, numbers)) from None


def _told(data: Path, problems: Sequence[FieldProblem], numbers: Sequence[int]) -> str:
    """What is wrong with which rows of a file, by their numbers."""
    import msgspec

    numbered = [
        p if p.row is None else msgspec.structs.replace(p, row=numbers[p.row]) for p in problems
    ]
    return f"{data}: {RowError(numbered)} (rows are counted from 1, without the header)"


def client(space: Workspace, url: str | None) -> Client:
    """A client of the server at ``url`` or of the one that this workspace runs."""
    from gyroscope.client import Client
    from gyroscope.serve.address import read_address

    if url is None:
        address = read_address(space.state)
        if address is None:
            raise NotFoundError("no server runs in this workspace; start it with: gyro up")
        host = f"[{address.host}]" if ":" in address.host else address.host
        url = f"http://{host}:{address.port}"
    return Client(url, key=os.environ.get("GYROSCOPE_API_KEY"))
