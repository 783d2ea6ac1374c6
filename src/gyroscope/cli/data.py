"""``gyro label``, and what it shares with ``gyro predict``: files against a running server."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from gyroscope.cli.options import HERE, WorkspaceOption, console, opened
from gyroscope.data.remarks import counted
from gyroscope.errors import (
    DataError,
    FieldProblem,
    NotFoundError,
    RequestError,
    RowError,
)

if TYPE_CHECKING:
    from gyroscope.app import Workspace
    from gyroscope.client import Client
    from gyroscope.data.contract import Contract
    from gyroscope.model import Value

MOST_ROWS = 500  # in a request
_TOO_LARGE = 413  # status

UrlOption = Annotated[
    str | None, typer.Option(help="Address of the server; default: the one this workspace runs.")
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Name of the model.")]
Row = dict[str, "Value"]
Answer = TypeVar("Answer")


def contract_of(server: Client, model: str) -> Contract:
    """What the champion that serves expects of rows and labels."""
    import msgspec

    from gyroscope.data.contract import Contract

    return msgspec.convert(server.get(f"/v1/models/{model}")["contract"], Contract)


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
    from gyroscope.data.sources import read_table

    with opened(workspace) as space:
        name = space.model(model)
        table = read_table(data)
        server = client(space, url)
    with server:

        def send(rows: Sequence[Row]) -> dict[str, Any]:
            return server.label(name, rows)

        labels = _labels(data, table, column, contract_of(server, name))
        answers = []
        for first in range(0, len(labels), MOST_ROWS):
            part = labels[first : first + MOST_ROWS]
            rows, numbers = [row for _, row in part], [number for number, _ in part]
            answers += sent(send, rows, numbers, data)
    console().print(
        f"{counted(sum(answer['accepted'] for answer in answers), 'label')} accepted, "
        f"{sum(len(answer['unknown']) for answer in answers):,} for unknown predictions, "
        f"{counted(table.num_rows - len(labels), 'row')} without a label"
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


def sent(
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
            first = sent(send, rows[:half], numbers[:half], data)
            return [*first, *sent(send, rows[half:], numbers[half:], data)]
        if not refused.problems:
            raise
        raise DataError(told(data, refused.problems, numbers)) from None


def told(data: Path, problems: Sequence[FieldProblem], numbers: Sequence[int]) -> str:
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
