"""``gyro report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gyroscope.cli.options import HERE, ModelArgument, WorkspaceOption, console, opened


def report(
    model: ModelArgument = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.")] = None,
    workspace: WorkspaceOption = HERE,
) -> None:
    """Write the history of a model as one HTML file with charts, for people."""
    from gyroscope.web.report import write_report

    with opened(workspace) as space:
        name = space.model(model)
        path = output or Path(f"{name}-report.html")
        write_report(space, name, path)
    console().print(f"{path} ({path.stat().st_size / 1000:.0f} kB)")
