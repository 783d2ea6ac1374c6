"""Options and output that several commands share."""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", help="Folder with gyroscope.yaml.", show_default=False)
]
ModelArgument = Annotated[
    str | None,
    typer.Argument(help="Name of the model; may be left out if there is one.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ReasonOption = Annotated[str, typer.Option("--reason", "-m", help="Why, for the record.")]

HERE = Path()


def person() -> str:
    """Who gives the command, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return "somebody"


def console() -> Console:
    """Where people read."""
    return Console(highlight=False)


def print_json(value: Any) -> None:
    """Print records as JSON."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def table(title: str, columns: Sequence[str], *, numbers: Sequence[str] = ()) -> Table:
    """An empty table; the columns named in ``numbers`` are right-aligned."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made
