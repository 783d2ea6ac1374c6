"""The server process: binds, says where it listens, and leaves nothing behind unwritten."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uvicorn

from gyroscope.data.files import write_atomically
from gyroscope.errors import UsageError
from gyroscope.serve.app import create_app
from gyroscope.serve.guard import LOOPBACK_HOSTS, Guard, is_loopback
from gyroscope.serve.http import DEFAULT_LIMITS, Limits
from gyroscope.serve.logs import Spooling
from gyroscope.serve.protocol import BoundedProtocol

ADDRESS_FILE = "server.json"
KEY_VARIABLE = "GYROSCOPE_API_KEY"

_GRACE_S = 10  # given to requests under way when the server is told to stop
_BACKLOG = 2048  # connections waiting to be accepted


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens, as ``server.json`` in the state folder says it."""

    host: str
    port: int
    pid: int
    started: datetime  # UTC


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
    :func:`gyroscope.serve.app.create_app`.

    Raises:
        UsageError: the address cannot be bound, or strangers could reach a server without key.
        OSError: the state folder cannot be written.
    """
    guard = _guard(host, os.environ.get(KEY_VARIABLE) or None)
    state.mkdir(parents=True, exist_ok=True)
    listening = _bound(host, port)
    app = create_app(
        state,
        models,
        limits=limits,
        guard=guard,
        access_log=access_log,
        trusted_types=trusted_types,
        spooling=spooling,
    )
    config = uvicorn.Config(
        app,
        loop="auto",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        log_level=logging.WARNING,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
    )
    if access_log:
        _log_lines_to_stderr()
    with contextlib.suppress(KeyboardInterrupt):  # passed on after the shutdown in good order
        _Server(config, state / ADDRESS_FILE, host).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Writes the address file when it accepts and removes it when it no longer does."""

    def __init__(self, config: uvicorn.Config, address_file: Path, host: str) -> None:
        super().__init__(config)
        self._address_file = address_file
        self._host = host

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        port = sockets[0].getsockname()[1] if sockets else self.config.port
        address = Address(host=self._host, port=port, pid=os.getpid(), started=datetime.now(UTC))
        try:
            write_atomically(self._address_file, msgspec.json.encode(address))
        except OSError:  # a full disk; stopped in good order, or the log would show a traceback
            await self.shutdown(sockets)
            raise
        logging.getLogger(__name__).info("listening on %s port %d", self._host, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        address = read_address(self._address_file.parent)
        if address is not None and address.pid == os.getpid():
            self._address_file.unlink(missing_ok=True)
        await super().shutdown(sockets)


def read_address(state: Path) -> Address | None:
    """Where the server of a state folder listens; None if none does.

    What a killed server left behind does not count.
    """
    try:
        address = msgspec.json.decode((state / ADDRESS_FILE).read_bytes(), type=Address)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return address if _is_alive(address.pid) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it is somebody else's
    return True


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
