"""``gyro promote``, ``rollback``, ``canary``, ``pause`` and so on: decisions by hand."""

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
    person,
    print_json,
)
from gyroscope.decisions import Status

if TYPE_CHECKING:
    from gyroscope.decisions import Recorded


def promote(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[int, typer.Argument(help="Version to make champion.")],
    reason: ReasonOption = "promoted by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Make a version the champion; the one before it stays ready for a rollback."""
    from gyroscope.app import Workspace
    from gyroscope.loop.manual import promote as carry_out

    space = Workspace(workspace)
    _tell(carry_out(space.world, space.model(model), version, actor=person(), reason=reason), json)
    space.close()


def rollback(
    model: ModelArgument = None,
    reason: ReasonOption = "rolled back by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Go back to the previous champion."""
    from gyroscope.app import Workspace
    from gyroscope.loop.manual import roll_back

    space = Workspace(workspace)
    _tell(roll_back(space.world, space.model(model), actor=person(), reason=reason), json)
    space.close()


def canary(  # noqa: PLR0917  the command line names its options
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[
        int | None, typer.Argument(help="Version to serve beside the champion.")
    ] = None,
    percent: Annotated[
        float, typer.Option(help="Share of the entities that it serves, 0 to 100.")
    ] = 10.0,
    off: Annotated[bool, typer.Option("--off", help="Let the champion serve all again.")] = False,
    reason: ReasonOption = "split by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Let a version serve a share of the entities beside the champion: a canary, an A/B test."""
    from gyroscope.app import Workspace
    from gyroscope.errors import UsageError
    from gyroscope.loop.manual import end_canary, start_canary

    if off != (version is None):
        raise UsageError("give either a version, with --percent, or --off")
    space = Workspace(workspace)
    world, name = space.world, space.model(model)
    if version is None:
        recorded = end_canary(world, name, actor=person(), reason=reason)
    else:
        recorded = start_canary(world, name, version, percent, actor=person(), reason=reason)
    _tell(recorded, json)
    space.close()


def pause(
    model: ModelArgument = None,
    reason: ReasonOption = "paused by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Stop the pilot from retraining, promoting and rolling back; it goes on watching."""
    from gyroscope.app import Workspace
    from gyroscope.loop.manual import pause as carry_out

    space = Workspace(workspace)
    _tell(carry_out(space.world, space.model(model), actor=person(), reason=reason), json)
    space.close()


def resume(
    model: ModelArgument = None,
    reason: ReasonOption = "resumed by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Let the pilot act again."""
    from gyroscope.app import Workspace
    from gyroscope.loop.manual import resume as carry_out

    space = Workspace(workspace)
    _tell(carry_out(space.world, space.model(model), actor=person(), reason=reason), json)
    space.close()


def retrain(
    model: ModelArgument = None,
    reason: ReasonOption = "asked for by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Have the pilot train challengers on the log now."""
    from gyroscope.app import Workspace
    from gyroscope.loop.manual import retrain as carry_out

    space = Workspace(workspace)
    _tell(carry_out(space.world, space.model(model), actor=person(), reason=reason), json)
    space.close()


def _tell(recorded: Recorded, json: bool) -> None:
    """Say what was decided; exit code 1 if it could not be carried out."""
    from rich.text import Text

    decision = recorded.decision
    if json:
        print_json(recorded)
    else:
        about = "" if decision.version is None else f" {decision.version}"
        what = f"{decision.model}: {decision.action}{about}: "
        told = (what, (recorded.status, "bold"), f" (decision {decision.id})")
        console().print(Text.assemble(*told))
        if recorded.note:
            console().print(recorded.note)
    if recorded.status is not Status.DONE:
        raise typer.Exit(1)
