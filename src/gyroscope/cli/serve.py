"""``gyro up``, ``gyro serve`` and ``gyro pilot``: the processes that stay."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from gyroscope.cli.options import HERE, WorkspaceOption, console

if TYPE_CHECKING:
    from pathlib import Path

HostOption = Annotated[str | None, typer.Option(help="Address to bind.")]
PortOption = Annotated[int | None, typer.Option(help="Port to bind; 0 takes a free one.")]


def up(workspace: WorkspaceOption = HERE, host: HostOption = None, port: PortOption = None) -> None:
    """Run everything on this machine: the HTTP server and the pilot."""
    _supervise(workspace, host, port, beside="pilot")


def serve(
    workspace: WorkspaceOption = HERE, host: HostOption = None, port: PortOption = None
) -> None:
    """Serve predictions and take labels, without the pilot."""
    _supervise(workspace, host, port, beside="publish")


def _supervise(workspace: Path, host: str | None, port: int | None, *, beside: str) -> None:
    from gyroscope.app import Workspace
    from gyroscope.loop.supervisor import Supervisor

    space = Workspace(workspace)
    address = [] if host is None else ["--host", host]
    address += [] if port is None else ["--port", str(port)]
    commands = {
        "api": (*space.command("api"), *address),
        beside: space.command(beside),
    }
    out = console()
    out.print(f"Workspace {space.config.root}; stop with Ctrl-C.")
    Supervisor(commands, tell=out.print).run()


def api(
    workspace: WorkspaceOption = HERE, host: HostOption = None, port: PortOption = None
) -> None:
    """The HTTP server alone."""
    from gyroscope.config import load_config
    from gyroscope.loop.supervisor import stop_with_parent
    from gyroscope.serve.http import Limits
    from gyroscope.serve.server import run

    stop_with_parent()
    config = load_config(workspace)
    settings = config.settings
    run(
        config.state,
        host=host or settings["host"],
        port=settings["port"] if port is None else port,
        limits=Limits(
            body_bytes=int(settings["max_body_mb"] * 1_000_000), rows=settings["max_rows"]
        ),
    )


def pilot(workspace: WorkspaceOption = HERE) -> None:
    """Watch every model, decide and act, until stopped."""
    from gyroscope.app import Workspace
    from gyroscope.config import FILE
    from gyroscope.loop.fly import fly
    from gyroscope.loop.supervisor import stop_with_parent

    stop_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    space = Workspace(workspace)
    fly(space.world, [space.pilot(m) for m in space.config.models], space.config.root / FILE)
    space.close()


def publish(workspace: WorkspaceOption = HERE) -> None:
    """Keep the servers' copy of the aliases true, until stopped."""
    from gyroscope.app import Workspace
    from gyroscope.loop.fly import publish_until, stop_event
    from gyroscope.loop.supervisor import stop_with_parent

    stop_with_parent()
    space = Workspace(workspace)
    publish_until(stop_event(), space.world.publisher, list(space.config.models))
    space.close()
