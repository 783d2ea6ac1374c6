"""uvicorn as the server uses it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import msgspec
import uvicorn
from starlette.types import ASGIApp

from gyroscope.data.files import write_atomically
from gyroscope.serve.address import Address, read_address
from gyroscope.serve.protocol import BoundedProtocol

_GC_AFTER = 50_000  # objects, net, between two looks for cycles among the youngest
_GRACE_S = 10  # given to requests under way when the server is told to stop
_LEAVE_S = 1  # given to their clients, who are told that it ends, to take that


class Listener(uvicorn.Server):
    """Writes the address file when it accepts and removes it when it no longer does."""

    def __init__(self, app: ASGIApp, address_file: Path, host: str) -> None:
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
            timeout_graceful_shutdown=_GRACE_S + _LEAVE_S,
        )
        super().__init__(config)
        self._address_file = address_file
        self._host = host

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Requests leave no cycles behind, and what serves stays: there is little to look for.
        gc.freeze()
        gc.set_threshold(_GC_AFTER)
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
            with suppress(OSError):  # a disk that became read-only must not cost requests under way
                self._address_file.unlink()
        giving_up = asyncio.get_running_loop().call_later(_GRACE_S, self._give_up)
        await super().shutdown(sockets)
        giving_up.cancel()

    def _give_up(self) -> None:
        """Tell the clients that are still waiting, because the log stalls, to try again."""
        for connection in list(self.server_state.connections):
            cast(BoundedProtocol, connection).give_up()
