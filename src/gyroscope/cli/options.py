"""Options and output that several commands share."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from gyroscope.app import Workspace

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
STYLES = {"ok": "green", "notice": "cyan", "warning": "yellow", "alarm": "bold red"}  # of verdicts

# What a terminal obeys instead of showing it: controls but the line break, changes of direction.
_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def application() -> typer.Typer:
    """The command line, without any command yet."""
    return typer.Typer(
        name="gyro",
        help="Keeps tabular machine-learning models right in production.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


@contextmanager
def opened(workspace: Path) -> Iterator[Workspace]:
    """The workspace in a folder; files and connections are given back after the block."""
    from gyroscope.app import Workspace

    space = Workspace(workspace)
    try:
        yield space
    finally:
        space.close()


def person() -> str:
    """Who gives the command, for the record."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in containers
        return "somebody"


def console(*, markup: bool = False) -> Console:
    """Where people read; ``markup`` only where no text comes from data."""
    from rich.console import Console  # here and below: programs that read JSON need not wait for it

    class LiteralConsole(Console):
        """Shows texts as they are: names and values from data mean nothing to it or a terminal."""

        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(visible(text), **options)

    return LiteralConsole(highlight=False, emoji=False, markup=markup)


def visible(text: str) -> str:
    """A text with escapes such as ``\\x1b`` for the characters that a terminal would obey."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def print_json(value: Any) -> None:
    """Print records as JSON."""
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def table(title: str, columns: Sequence[str], *, numbers: Sequence[str] = ()) -> Table:
    """An empty table; the columns named in ``numbers`` are right-aligned."""
    from rich.table import Table

    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return made
