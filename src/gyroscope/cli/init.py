"""``gyro init``: from a data file to a first contract in ``gyroscope.yaml``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gyroscope.cli.options import (
    HERE,
    JsonOption,
    WorkspaceOption,
    console,
    print_json,
    table,
    visible,
)
from gyroscope.data.contract import Task
from gyroscope.data.remarks import counted

if TYPE_CHECKING:
    from rich.console import Console

    from gyroscope.data.contract import Column
    from gyroscope.data.infer import Inferred
    from gyroscope.data.remarks import Remark

_STYLES = {"ignored": "dim", "target": "bold green", "time": "cyan", "id": "cyan"}


def init(
    data: Annotated[
        Path, typer.Argument(help="CSV or Parquet file, or a quoted pattern such as 'days/*.csv'.")
    ],
    *,
    target: Annotated[str, typer.Option(help="Column to predict.")],
    time: Annotated[str | None, typer.Option(help="Column with the time of a row.")] = None,
    id: Annotated[str | None, typer.Option(help="Column that says whom a row is about.")] = None,
    sensitive: Annotated[
        list[str] | None, typer.Option(help="Column for fairness checks; repeatable.")
    ] = None,
    positive: Annotated[
        list[str] | None, typer.Option(help="Value of the target to predict; repeatable.")
    ] = None,
    task: Annotated[
        Task | None,
        typer.Option(help="What to predict of the target; guessed from its values if not given."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name of the model; default: from the file's name.")
    ] = None,
    workspace: WorkspaceOption = HERE,
    force: Annotated[bool, typer.Option("--force", help="Replace the model if it exists.")] = False,
    json: JsonOption = False,
) -> None:
    """Look at a data file and write what is guessed about it into gyroscope.yaml."""
    from gyroscope.bundle.keys import Keys, keys_folder
    from gyroscope.config import load_config
    from gyroscope.data.infer import infer_contract
    from gyroscope.data.sources import read_table
    from gyroscope.data.workspace_file import write_model

    name = model or model_name(data)
    rows = read_table(data)
    inferred = infer_contract(
        rows,
        target=target,
        time=time,
        id=id,
        sensitive=sensitive or (),
        positive=positive or (),
        task=task,
    )
    file = write_model(workspace, name, data, inferred, overwrite=force)
    keys = Keys(keys_folder(load_config(workspace).state))
    key = keys.signer().key  # made here, so that it can be handed on before anything is trained
    if json:
        print_json({**_summary(name, file, rows.num_rows, inferred), "key": key})
        return
    out = console()
    out.print(f"{data}: {counted(rows.num_rows, 'row')}, {counted(rows.num_columns, 'column')}")
    _tell(out, inferred)
    train = ["gyro", "train", name, *(() if workspace == HERE else ("--workspace", str(workspace)))]
    out.print(f"\nModels of this workspace will be signed; the public key is {keys.public}.")
    out.print(f"Wrote model {name} to {file}: read it, correct it. Then:")
    out.print(f"  {shlex.join(train)}", style="bold")


def model_name(data: Path) -> str:
    """A name for the model made from the name of its data file, or else of the folder."""
    stem = re.sub(r"(?i)(\.(csv|tsv|txt|parquet|pq|gz))+$", "", data.name)
    for text in (stem, data.parent.name, "model"):
        name = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")[:64]
        if name:
            break
    return name


def _summary(name: str, file: Path, rows: int, inferred: Inferred) -> dict[str, Any]:
    contract = inferred.contract
    return {
        "model": name,
        "file": str(file),
        "rows": rows,
        "task": contract.task,
        "positive": contract.positive,
        "negative": contract.negative,
        "classes": contract.classes,
        "columns": contract.columns,
        "remarks": inferred.remarks,
    }


def _tell(out: Console, inferred: Inferred) -> None:
    from rich.text import Text

    warned = {remark.column for remark in inferred.remarks if remark.level == "warning"}
    columns = table("", ("column", "type", "role", "what is in it"))
    for column in inferred.contract.columns:
        mark = Text(" !", style="bold yellow") if column.name in warned else Text("")
        columns.add_row(
            Text(visible(column.name)) + mark,
            column.type.value,
            column.role.value,
            _about(column),
            style=_STYLES.get(column.role.value, ""),
        )
    out.print(columns)
    for level, title, style in (("warning", "Warnings", "bold yellow"), ("note", "Notes", "bold")):
        remarks = [remark for remark in inferred.remarks if remark.level == level]
        if remarks:
            out.print(f"\n{title}", style=style)
            _list(out, remarks)


def _about(column: Column) -> str:
    if column.role == "ignored":
        return column.why
    parts = [f"{column.seen[0]:.10g} to {column.seen[1]:.10g}"] if column.seen else []
    parts += [", ".join((*column.true, *column.false))] if column.true else []
    parts += [", ".join((*column.categories[:4], *(["..."] if column.categories[4:] else [])))]
    return "; ".join(part for part in (*parts, column.why) if part)


def _list(out: Console, remarks: Iterable[Remark]) -> None:
    """Remarks as a list; what is said of several columns is said once, and so is the advice."""
    from rich.padding import Padding
    from rich.text import Text

    said: dict[tuple[str, str], list[str]] = {}
    for remark in remarks:
        said.setdefault((remark.message, remark.advice), []).append(remark.column)
    advised: dict[str, list[tuple[str, list[str]]]] = {}
    for (message, advice), columns in said.items():
        advised.setdefault(advice, []).append((message, columns))
    for advice, facts in advised.items():
        for message, columns in facts:
            about = ", ".join(filter(None, columns))
            told = f"{about}: {message}" if about else message
            out.print(Padding(told, (0, 0, 0, 2), expand=False))
        if advice:
            out.print(Padding(Text(advice, style="dim"), (0, 0, 0, 6), expand=False))
