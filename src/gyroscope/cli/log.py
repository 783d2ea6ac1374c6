"""``gyro log``: upkeep of the prediction log, and what it holds of one subject."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gyroscope.cli.options import (
    HERE,
    JsonOption,
    ModelArgument,
    ReasonOption,
    WorkspaceOption,
    console,
    opened,
    person,
    print_json,
    table,
    visible,
)
from gyroscope.data.remarks import are, counted
from gyroscope.errors import GyroscopeError

if TYPE_CHECKING:
    from gyroscope.prediction_log.compaction import Compacted

log = typer.Typer(
    name="log", help="Keep up the prediction log; show or erase records.", no_args_is_help=True
)

IdOption = Annotated[str, typer.Option("--id", help="Id of a prediction, or of an entity.")]


@log.command()
def compact(
    model: Annotated[
        str | None,
        typer.Argument(help="Name of the model; all of them if left out.", show_default=False),
    ] = None,
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Move the log into Parquet files and remove what is older than keep_log.

    The pilot does that by itself every compact_every. Servers and the pilot go on meanwhile. A log
    that cannot be moved holds up no other: each is told, and the exit code is 1.
    """
    from gyroscope.loop.upkeep import keep_up

    with opened(workspace) as space:
        names = list(space.config.models) if model is None else [space.model(model)]
        done: dict[str, Compacted] = {}
        failed: dict[str, dict[str, str]] = {}
        for name in names:
            try:
                done[name] = keep_up(space.world, name)
            except (GyroscopeError, OSError) as error:
                failed[name] = {"error": str(error)}
                typer.echo(visible(f"gyro: {name}: {error}"), err=True)
    if json:
        print_json({**done, **failed})
    else:
        _tell(done)
    if failed:
        raise typer.Exit(1)


def _tell(done: dict[str, Compacted]) -> None:
    for name, one in done.items():
        told = (
            f"{name}: {counted(one.rows, 'record')} of {counted(one.segments, 'segment')} "
            f"{are(one.rows)} in {counted(one.files, 'Parquet file')} now"
        )
        if one.left:
            told += f"; {counted(one.left, 'segment')} left, damaged or in use: see gyro verify"
        if one.expired_files:
            told += f"; {counted(one.expired_files, 'file')} of old days removed"
        console().print(f"{told}.")


@log.command()
def erase(
    id: IdOption,
    model: ModelArgument = None,
    reason: ReasonOption = "asked for by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Erase all predictions with this id or about this entity, and their labels."""
    from gyroscope.loop.manual import erase as carry_out

    with opened(workspace) as space:
        name = space.model(model)
        erased = carry_out(space.world, name, id, actor=person(), reason=reason)
    if json:
        print_json(erased)
        return
    console().print(
        f"{name}: {counted(erased.predictions, 'prediction')} and "
        f"{counted(erased.labels, 'label')} erased; "
        "on record is that it was done, not whose they were."
    )


@log.command()
def show(
    id: IdOption,
    model: ModelArgument = None,
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Show all predictions with this id or about this entity, with every label that came."""
    from gyroscope.loop.logged import records_of

    with opened(workspace) as space:
        found = records_of(space.log(space.model(model)), id)
    if json:
        print_json(found)
        return
    out = console()
    for record in found:
        p = record.prediction
        out.print(f"Prediction {p.id} of version {p.version}, score {_score(p.score)}, {p.time}")
        fields = table("", ("field", "value"))
        for name, value in zip(p.columns, p.row, strict=True):
            fields.add_row(name, str(value))
        out.print(fields)
        for label in record.labels:
            out.print(f"Label {label.label} of {label.time}, arrived {label.arrival}")
    out.print(counted(len(found), "prediction"))


def _score(score: float | tuple[float, ...]) -> str:
    return ", ".join(f"{one:.4f}" for one in (score if isinstance(score, tuple) else (score,)))
