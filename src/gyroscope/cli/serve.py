"""``gyro up``, ``gyro serve`` and ``gyro pilot``: the processes that stay."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from gyroscope.cli.options import HERE, WorkspaceOption, console, opened

if TYPE_CHECKING:
    from pathlib import Path

HostOption = Annotated[str | None, typer.Option(help="Address to bind.")]
PortOption = Annotated[
    int | None, typer.Option(min=0, max=65535, help="Port to bind; 0 takes a free one.")
]

_LAST_STEP_S = 10.0  # given to the last step of a pilot whose supervisor was killed


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
    from gyroscope.loop.locks import locked
    from gyroscope.loop.supervisor import Supervisor
    from gyroscope.store.base import JobStatus

    space = Workspace(workspace)
    settings, out = space.config.settings, console()
    host = host or settings["host"]
    port = settings["port"] if port is None else port
    with locked(space.state / "up.lock", wait_s=0, doing="serving this workspace"):
        port = port or _free_port(host)  # the same one each time that the server is started
        commands = {
            "api": (*space.command("api"), "--host", host, "--port", str(port)),
            beside: space.command(beside),
        }
        out.print(f"Workspace {space.config.root}, http://{host}:{port}/docs; stop with Ctrl-C.")
        Supervisor(commands, tell=out.print).run()
    for job in space.store.jobs(statuses=(JobStatus.QUEUED, JobStatus.RUNNING)):
        out.print(f"The {job.kind} job of {job.model} goes on; gyro up will take up its result.")
    space.close()


def _free_port(host: str) -> int:
    """A port that nobody listens on now."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
            return port
    except OSError:
        return 0  # no address of this machine, which the server says better


def api(
    workspace: WorkspaceOption = HERE, host: HostOption = None, port: PortOption = None
) -> None:
    """The HTTP server alone."""
    from gyroscope.config import load_config
    from gyroscope.loop.supervisor import stop_with_parent
    from gyroscope.serve.http import Limits
    from gyroscope.serve.logs import Spooling
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
        trusted_types=settings["trusted_types"],
        spooling=Spooling(
            root=config.spools,
            bytes=int(settings["spool_mb"] * 1_000_000),
            when_full=settings["when_spool_full"],
        ),
    )


def pilot(workspace: WorkspaceOption = HERE) -> None:
    """Watch every model, decide and act, until stopped."""
    from gyroscope.app import Workspace
    from gyroscope.loop.fly import fly, stop_event
    from gyroscope.loop.locks import locked
    from gyroscope.loop.supervisor import stop_with_parent
    from gyroscope.loop.upkeep import Upkeep

    stop_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    stopping, again = stop_event(), True
    lock = Workspace(workspace).pilot_lock
    with locked(lock, wait_s=_LAST_STEP_S, doing="the pilot of this workspace"):
        while again:
            space = Workspace(workspace)
            pilots = [space.pilot(model) for model in space.config.models]
            upkeep = Upkeep(space.command("log", "compact"), space.config.settings["compact_every"])
            again = fly(space.world, pilots, stopping, upkeep)
            space.close()


def publish(workspace: WorkspaceOption = HERE) -> None:
    """Keep the servers' copy of the aliases true, until stopped."""
    from gyroscope.loop.fly import publish_until, stop_event
    from gyroscope.loop.supervisor import stop_with_parent

    stop_with_parent()
    with opened(workspace) as space:
        publish_until(stop_event(), space.world, list(space.config.models))
