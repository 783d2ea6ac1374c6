"""The server process: binds, says where it listens, and leaves nothing behind unwritten."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from gyroscope.errors import UsageError
from gyroscope.serve.address import ADDRESS_FILE
from gyroscope.serve.app import Application
from gyroscope.serve.guard import LOOPBACK_HOSTS, Guard, is_loopback
from gyroscope.serve.http import DEFAULT_LIMITS, Limits
from gyroscope.serve.logs import Spooling

KEY_VARIABLE = "GYROSCOPE_API_KEY"

_BACKLOG = 2048  # connections waiting to be accepted


def run(
    state: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    models: Sequence[str] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    access_log: bool = False,
    trusted_types: Sequence[str] = (),
    spooling: Spooling | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; every acknowledged record is on the disk when it returns.

    Port 0 takes a free one; ``<state>/server.json`` says which while the server accepts requests.
    If GYROSCOPE_API_KEY is set, requests must carry it. ``trusted_types`` are those of
    :class:`gyroscope.serve.app.Application`.

    Raises:
        UsageError: the address cannot be bound, or strangers could reach a server without key.
        OSError: the state folder cannot be written.
    """
    guard = _guard(host, os.environ.get(KEY_VARIABLE) or None)
    state.mkdir(parents=True, exist_ok=True)
    listening = _bound(host, port)
    app = Application(
        state,
        models,
        limits=limits,
        guard=guard,
        access_log=access_log,
        trusted_types=trusted_types,
        spooling=spooling,
    )
    if access_log:
        _log_lines_to_stderr()
    from gyroscope.serve.listener import Listener  # uvicorn takes long to import

    with contextlib.suppress(KeyboardInterrupt):  # passed on after the shutdown in good order
        Listener(app, state / ADDRESS_FILE, host).run(sockets=[listening])


def _guard(host: str, key: str | None) -> Guard:
    if is_loopback(host):
        return Guard(hosts=LOOPBACK_HOSTS | {host}, key=key)
    if key is None:
        raise UsageError(
            f"host {host} can be reached from other machines: set {KEY_VARIABLE} to a secret that "
            "clients send as a bearer token, or bind 127.0.0.1"
        )
    return Guard(hosts=None, key=key)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another port, 0 takes "
            "any free one"
        ) from None


def _log_lines_to_stderr() -> None:
    """The access log as bare lines of JSON, apart from all other logs."""
    access = logging.getLogger("gyroscope.access")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    access.addHandler(handler)
    access.setLevel(logging.INFO)
    access.propagate = False
