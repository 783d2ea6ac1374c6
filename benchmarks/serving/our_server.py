"""Our server, or its echo floor: the same server around an application that does nothing.

python our_server.py STATE PORT [echo]
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Read a body and answer with as many bytes as a prediction has."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body", False):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"300")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b" " * 300})


def main() -> None:
    """Serve until stopped."""
    state, port = Path(sys.argv[1]), int(sys.argv[2])
    if sys.argv[3:] == ["echo"]:
        from gyroscope.serve.listener import Listener

        listening = socket.create_server(("127.0.0.1", port), backlog=2048)
        Listener(echo, state / "echo.json", "127.0.0.1").run(sockets=[listening])  # type: ignore[arg-type]
    else:
        from gyroscope.serve.server import run

        run(state, port=port)


if __name__ == "__main__":
    main()
