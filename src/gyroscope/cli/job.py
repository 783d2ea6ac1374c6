"""``gyro job``: one job of the loop in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gyroscope.cli.options import HERE, WorkspaceOption, opened


def job(
    job: Annotated[str, typer.Option(help="Id of the job.")],
    result: Annotated[Path, typer.Option(help="File for its outcome.")],
    workspace: WorkspaceOption = HERE,
) -> None:
    """Run a job that the pilot has submitted and write down how it ended."""
    from gyroscope.errors import GyroscopeError
    from gyroscope.loop.base import Outcome
    from gyroscope.loop.jobs import run_job
    from gyroscope.loop.traces import write_outcome

    with opened(workspace) as space:
        try:
            outcome = Outcome(result=run_job(space.world, space.store.job(job)))
        except GyroscopeError as error:
            outcome = Outcome(error=str(error))
        write_outcome(result, outcome)
