"""All commands of ``gyro`` in one application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from gyroscope import __version__
from gyroscope.cli import bundle, control, data, keys, look, serve
from gyroscope.cli.demo import demo
from gyroscope.cli.drift import drift
from gyroscope.cli.init import init
from gyroscope.cli.job import job
from gyroscope.cli.log import log
from gyroscope.cli.options import application
from gyroscope.cli.predict import predict
from gyroscope.cli.report import report
from gyroscope.cli.settings import settings
from gyroscope.cli.train import train

app = application()

COMMANDS: tuple[Callable[..., None], ...] = (
    init,
    train,
    serve.up,
    serve.serve,
    serve.pilot,
    predict,
    data.label,
    look.status,
    look.monitor,
    look.budget,
    look.findings,
    look.decisions,
    look.versions,
    control.promote,
    control.rollback,
    control.canary,
    control.retrain,
    control.pause,
    control.resume,
    look.verify,
    drift,
    report,
    settings,
    demo,
)
INTERNAL: tuple[Callable[..., None], ...] = (serve.api, serve.publish, job)  # started by others

for command in COMMANDS:
    app.command()(command)

app.add_typer(bundle.app, name="bundle")
app.add_typer(keys.app, name="keys")

for command in INTERNAL:
    app.command(hidden=True)(command)

app.add_typer(log)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gyroscope {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Keeps tabular machine-learning models right in production."""
