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
    opened,
    person,
    print_json,
)
from gyroscope.decisions import Status

if TYPE_CHECKING:
    from gyroscope.decisions import Recorded
    from gyroscope.loop.world import World

_PERCENT = 10.0  # that a canary serves if nothing is said


def promote(
    model: Annotated[str, typer.Argument(help="Name of the model.")],
    version: Annotated[int, typer.Argument(help="Version to make champion.")],
    reason: ReasonOption = "promoted by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Make a version the champion; the one before it stays ready for a rollback."""
    from gyroscope.loop.manual import promote as carry_out

    with opened(workspace) as space:
        _tell(
            carry_out(space.world, space.model(model), version, actor=person(), reason=reason), json
        )


def rollback(
    model: ModelArgument = None,
    reason: ReasonOption = "rolled back by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Go back to the previous champion."""
    from gyroscope.loop.manual import roll_back

    with opened(workspace) as space:
        _tell(roll_back(space.world, space.model(model), actor=person(), reason=reason), json)


def canary(  # noqa: PLR0917  the command line names its options
    model: ModelArgument = None,
    version: Annotated[
        int | None,
        typer.Argument(help="Version to serve beside the champion.", show_default=False),
    ] = None,
    percent: Annotated[
        float | None,
        typer.Option(
            help=f"Share of the entities that it serves, 0 to 100; {_PERCENT:g} if not given.",
            show_default=False,
        ),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Let the champion serve all again.")] = False,
    reason: ReasonOption = "split by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Let a version serve a share of the entities; without one, compare it with the champion."""
    from gyroscope.errors import UsageError
    from gyroscope.loop.manual import end_canary, start_canary

    if (off and version is not None) or (version is None and percent is not None):
        raise UsageError("give a version, with --percent, or --off, or neither to compare")
    share = _PERCENT if percent is None else percent
    with opened(workspace) as space:
        name, world = space.model(model), space.world
        if version is not None:
            _tell(start_canary(world, name, version, share, actor=person(), reason=reason), json)
        elif off:
            _tell(end_canary(world, name, actor=person(), reason=reason), json)
        else:
            _compare_canary(world, name, json)


def _compare_canary(world: World, model: str, json: bool) -> None:
    """Say which canary there is and how it does."""
    from gyroscope.loop.canaries import canary_decision, canary_finding

    decided = canary_decision(world, model)
    finding = None if decided is None else canary_finding(world, model, decided)
    if json:
        print_json({"model": model, "canary": decided, "comparison": finding})
    elif decided is None or finding is None:
        console().print(
            f"{model} has no canary; begin one with: gyro canary {model} VERSION --percent 10"
        )
    else:
        console().print(
            f"Version {decided.version} serves {decided.percent:g} % of {model} beside version "
            f"{decided.previous} since {decided.at:%Y-%m-%d %H:%M}. {finding.detail}"
        )


def pause(
    model: ModelArgument = None,
    reason: ReasonOption = "paused by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Stop the pilot from retraining, promoting and rolling back; it goes on watching."""
    from gyroscope.loop.manual import pause as carry_out

    with opened(workspace) as space:
        _tell(carry_out(space.world, space.model(model), actor=person(), reason=reason), json)


def resume(
    model: ModelArgument = None,
    reason: ReasonOption = "resumed by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Let the pilot act again."""
    from gyroscope.loop.manual import resume as carry_out

    with opened(workspace) as space:
        _tell(carry_out(space.world, space.model(model), actor=person(), reason=reason), json)


def retrain(
    model: ModelArgument = None,
    reason: ReasonOption = "asked for by hand",
    workspace: WorkspaceOption = HERE,
    json: JsonOption = False,
) -> None:
    """Have the pilot train challengers on the log now."""
    from gyroscope.loop.manual import retrain as carry_out

    with opened(workspace) as space:
        _tell(carry_out(space.world, space.model(model), actor=person(), reason=reason), json)


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
