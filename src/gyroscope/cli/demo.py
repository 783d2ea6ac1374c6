"""``gyro demo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gyroscope.cli.options import console, person, table

if TYPE_CHECKING:
    from rich.console import Console

    from gyroscope.app import Workspace


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demonstration keeps its files.")] = Path(
        "gyroscope-demo"
    ),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the server running.")] = False,
) -> None:
    """Watch a model being trained, served, watched, retrained, promoted and rolled back."""
    from gyroscope.demo.flights import between, load_flights
    from gyroscope.demo.scenes import MODEL, SEED, Calendar
    from gyroscope.demo.server import running
    from gyroscope.demo.story import Story, report_path
    from gyroscope.demo.stream import Stream
    from gyroscope.demo.workspace import make_workspace
    from gyroscope.web.report import write_report

    began = time.monotonic()
    out, calendar = console(markup=True), Calendar()
    out.rule("[bold]Gyroscope on the flights of New York, 2013")
    out.print(
        "The question: will a flight arrive more than 15 minutes late? Asked when it is planned.\n"
    )
    flights = load_flights()
    space = make_workspace(folder, between(flights, *calendar.train))
    _train(space, out)
    with running(space, keep=keep) as client:
        out.print(f"\n[bold]Serving[/] at {client.url}/docs; a day takes about a second.\n")
        story = Story(space, Stream(client, MODEL, seed=SEED), out, calendar)
        story.play(flights)
        complete = _summary(space, out)
        url = client.url
    write_report(space, MODEL, report_path(folder))
    _what_next(out, folder, time.monotonic() - began, url if keep else None)
    space.close()
    if not complete:
        raise typer.Exit(1)


def _train(space: Workspace, out: Console) -> None:
    from gyroscope.cli.progress import training_progress
    from gyroscope.demo.scenes import MODEL
    from gyroscope.loop.manual import promote_first
    from gyroscope.loop.training import train_first

    with training_progress(out, MODEL, shown=True) as progress:
        trained = train_first(space.world, MODEL, progress)
    promote_first(space.world, trained.version, trained.passed, actor=person())
    auc = trained.evaluated.metrics["roc_auc"]
    out.print(
        f"Version 1 is {trained.evaluated.candidate.name}: ROC AUC {auc.value:.3f} "
        f"({auc.interval.low:.3f} to {auc.interval.high:.3f}) on "
        f"{len(trained.evaluated.rows):,} later flights."
    )


def _summary(space: Workspace, out: Console) -> bool:
    """Print what happened; whether all of it did that should."""
    from gyroscope.demo.story import events

    found = events(space)
    shown = table("\nWhat happened", ("event", "times", "first", "why"), numbers=("times",))
    for what, decisions in found.items():
        if decisions:
            first = decisions[0]
            shown.add_row(what, str(len(decisions)), f"{first.at:%Y-%m-%d}", first.reason)
        else:
            shown.add_row(what, "0", "", "[red]did not happen[/]")
    out.print(shown)
    return all(found.values())


def _what_next(out: Console, folder: Path, seconds: float, url: str | None) -> None:
    report = (folder / "report.html").resolve()
    out.print(f"\nThe whole story with charts: [bold]{report}[/]  ({seconds:.0f} s in all)\n")
    out.print("Go on with:")
    out.print(f"  gyro decisions -w {folder}     every decision with its reason")
    out.print(f"  gyro versions  -w {folder}     the versions and who is champion")
    out.print(f"  gyro verify    -w {folder}     score every logged row again, bit for bit")
    out.print(f"  gyro up        -w {folder}     serve and watch again")
    out.print("  gyro init data.csv --target COLUMN    your own data")
    if url is not None:
        out.print(f"\nThe server is still up at {url}; stop it with: pkill -f 'gyroscope up'")
