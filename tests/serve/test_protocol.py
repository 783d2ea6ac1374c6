"""Headers that do not come in time."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from gyroscope.serve import protocol


async def _app(scope: object, receive: object, send: object) -> None:
    raise AssertionError("no request is complete")


async def _exchange(sent: bytes) -> bytes:
    config = uvicorn.Config(_app, http=protocol.BoundedProtocol, log_config=None)
    config.load()
    loop, state = asyncio.get_running_loop(), ServerState()
    server = await loop.create_server(
        lambda: protocol.BoundedProtocol(config, state, {}, loop), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(sent)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    return answer


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_headers_that_do_not_come_in_time_are_given_up(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.05)
    answer = asyncio.run(_exchange(sent))
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"the headers did not arrive within 0.05 s" in answer
    assert b'"code":"request_timeout"' in answer
