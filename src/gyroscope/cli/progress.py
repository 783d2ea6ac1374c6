"""Progress of a training on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def training_progress(
    out: Console, model: str, *, shown: bool
) -> Iterator[Callable[[str, str], None]]:
    """A bar that moves with the steps of the pipeline; silent if not ``shown``."""
    from gyroscope.train.pipeline import STEPS

    columns = (
        TextColumn("{task.fields[model]}", style="bold", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),  # it may hold the name of a file
    )
    with Progress(*columns, console=out, disable=not shown) as bar:
        task = bar.add_task("starting", total=len(STEPS), model=model)

        def progress(step: str, detail: str) -> None:
            words = f"{step}: {detail}" if detail else step
            bar.update(task, completed=STEPS.index(step), description=words)

        yield progress
        bar.update(task, completed=len(STEPS), description="done")
