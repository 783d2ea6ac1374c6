"""``gyro predict`` and ``gyro label``: files against a running server."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gyroscope.cli.options import HERE, WorkspaceOption, console
from gyroscope.errors import DataError, NotFoundError

if TYPE_CHECKING:
    from gyroscope.app import Workspace
    from gyroscope.client import Client

_BATCH = 500  # rows in a request
UrlOption = Annotated[
    str | None, typer.Option(help="Address of the server; default: the one this workspace runs.")
]
ModelOption = Annotated[str | None, typer.Option("--model", help="Name of the model.")]


def predict(
    data: Annotated[Path, typer.Argument(help="CSV or Parquet file with rows to predict.")],
    output: Annotated[Path, typer.Argument(help="CSV file for the predictions.")],
    model: ModelOption = None,
    workspace: WorkspaceOption = HERE,
    url: UrlOption = None,
) -> None:
    """Send the rows of a file to the running server and write what it predicts."""
    from rich.progress import track

    from gyroscope.app import Workspace
    from gyroscope.data.rows import json_rows
    from gyroscope.data.sources import read_table
    from gyroscope.loop.training import contract_of

    space = Workspace(workspace)
    config = space.config.model(model)
    contract, table = contract_of(config), read_table(data)
    keep = (
        []
        if contract.id is None or contract.id.name not in table.column_names
        else [contract.id.name]
    )
    partial = output.with_name(output.name + ".part")
    with client(space, url) as server, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*keep, "prediction_id", "probability", "prediction"])
        steps = -(-table.num_rows // _BATCH)
        batches = json_rows(table, contract, batch=_BATCH)
        for rows in track(batches, "predicting", total=steps, console=console()):
            for row, made in zip(rows, server.predict(config.name, rows), strict=True):
                kept = [row[name] for name in keep]
                writer.writerow([*kept, made["prediction_id"], made["probability"], made["label"]])
    partial.replace(output)
    console().print(f"{table.num_rows:,} predictions are in {output}")


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
    from gyroscope.loop.training import contract_of

    space = Workspace(workspace)
    config = space.config.model(model)
    name = column or contract_of(config).target.name
    table = read_table(data)
    for needed in ("prediction_id", name):
        if needed not in table.column_names:
            raise DataError(
                f"{data} has no column {needed!r}; it has: {', '.join(table.column_names)}"
            )
    ids, values = table.column("prediction_id").to_pylist(), table.column(name).to_pylist()
    labels = [
        {"prediction_id": i, "label": v}
        for i, v in zip(ids, values, strict=True)
        if v not in ("", None)
    ]
    accepted, unknown = 0, 0
    with client(space, url) as server:
        for start in range(0, len(labels), _BATCH):
            answer = server.label(config.name, labels[start : start + _BATCH])
            accepted += answer["accepted"]
            unknown += len(answer["unknown"])
    console().print(
        f"{accepted:,} labels accepted, {unknown:,} for unknown predictions, "
        f"{len(ids) - len(labels):,} rows without a label"
    )


def client(space: Workspace, url: str | None) -> Client:
    """A client of the server at ``url`` or of the one that this workspace runs."""
    from gyroscope.client import Client
    from gyroscope.serve.server import read_address

    if url is None:
        address = read_address(space.state)
        if address is None:
            raise NotFoundError("no server runs in this workspace; start it with: gyro up")
        url = f"http://{address.host}:{address.port}"
    return Client(url, key=os.environ.get("GYROSCOPE_API_KEY"))
