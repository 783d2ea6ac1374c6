"""Headers that do not come in time; bodies and answers in one piece."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
import uvicorn
from uvicorn.server import ServerState

from gyroscope.serve import protocol
from gyroscope.serve.http import DEFAULT_LIMITS, EXCHANGE, ClientGoneError, ErrorBody, read_body


async def _app(scope: object, receive: object, send: object) -> None:
    raise AssertionError("no request is complete")


@contextlib.asynccontextmanager
async def _connection(
    app: Any, keep_alive_s: int | float = 5
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, asyncio.Queue[bytes]]]:
    """A connection to a server, and what the server receives by it."""
    config = uvicorn.Config(app, http=protocol.BoundedProtocol, log_config=None)
    config.timeout_keep_alive = keep_alive_s  # type: ignore[assignment]
    config.load()
    loop, state, heard = asyncio.get_running_loop(), ServerState(), asyncio.Queue[bytes]()

    class Heard(protocol.BoundedProtocol):
        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            heard.put_nowait(data)

    server = await loop.create_server(lambda: Heard(config, state, {}, loop), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        yield reader, writer, heard
        writer.close()
        with contextlib.suppress(ConnectionError):  # closed by the server, with bytes unread
            await writer.wait_closed()


async def _exchange(*sent: bytes, app: Any = _app) -> bytes:
    """What is answered to these pieces, each received by itself, until the server hangs up."""
    async with _connection(app) as (reader, writer, heard):
        for piece in filter(None, sent):
            writer.write(piece)
            received = b""
            while len(received) < len(piece):
                received += await heard.get()
        return await reader.read()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_headers_that_do_not_come_in_time_are_given_up(
    sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.05)
    answer = asyncio.run(_exchange(sent))
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"the headers did not arrive within 0.05 s" in answer
    assert b'"code":"request_timeout"' in answer


async def _whole(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer with what was read, and how, in one piece if that can be."""
    exchange = scope["extensions"][EXCHANGE]
    body = exchange.body()
    how = b"messages" if body is None else b"whole"
    if body is None:
        body = await read_body(receive, dict(scope["headers"]), DEFAULT_LIMITS)
    said = how + b":" + body
    if scope["path"] != "/slow" and exchange.answer(
        b"content-length: %d\r\n\r\n%b" % (len(said), said)
    ):
        return
    headers = [(b"content-length", str(len(said)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


def _post(body: bytes, *more: bytes, path: bytes = b"/") -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: localhost", *more, b"", body]
    return b"\r\n".join([*lines[:2], b"Content-Length: %d" % len(body), *lines[2:]])


LAST = _post(b"last", b"Connection: close")


def test_requests_in_a_row_on_one_connection_are_each_answered_in_their_turn() -> None:
    bodies = [b"one", b"", b"three"]
    sent = b"".join(map(_post, bodies)) + _post(b"four", path=b"/slow") + LAST
    answer = asyncio.run(_exchange(sent, app=_whole))
    said = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    assert said == [b"whole:one", b"whole:", b"whole:three", b"whole:four", b"whole:last"]


def test_a_connection_to_be_closed_is_closed_after_an_answer_that_says_so() -> None:
    answer = asyncio.run(_exchange(LAST, app=_whole))
    assert b"connection: close\r\n" in answer
    assert answer.endswith(b"whole:last")


def test_a_client_that_waits_to_be_told_to_go_on_is_told() -> None:
    head, _, body = LAST.partition(b"\r\n\r\n")
    sent = head + b"\r\nExpect: 100-continue\r\n\r\n" + body
    answer = asyncio.run(_exchange(sent, app=_whole))
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert answer.endswith(b":last")


def test_a_body_in_chunks_is_read_whole() -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    sent = head + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"
    assert asyncio.run(_exchange(sent, app=_whole)).endswith(b"whole:abcde")


def test_a_body_that_comes_later_is_waited_for() -> None:
    async def in_two() -> bytes:
        asked: asyncio.Event = asyncio.Event()

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            asked.set()
            await _whole(scope, receive, send)

        async with _connection(app) as (reader, writer, _):
            writer.write(LAST[:-2])
            await asked.wait()
            writer.write(LAST[-2:])
            return await reader.read()

    assert asyncio.run(in_two()).endswith(b"messages:last")


UPGRADE = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA")


@pytest.mark.parametrize("head_ends", [None, 0, -1, -60])
def test_a_request_for_another_protocol_is_served_with_its_body_in_this_one(
    head_ends: int | None,
) -> None:
    inner = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    request = _post(inner, *UPGRADE)
    end = len(request) if head_ends is None else len(request) - len(inner) + head_ends
    sent = (_post(b"first") + request[:end], request[end:] + _post(b"", *UPGRADE) + LAST)
    answer = asyncio.run(_exchange(*sent, app=_whole))
    said = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    assert [each.partition(b":")[2] for each in said] == [b"first", inner, b"", b"last"]


def test_a_request_for_another_protocol_may_have_a_body_in_chunks() -> None:
    lines = [b"POST / HTTP/1.1", b"Host: localhost", *UPGRADE, b"Transfer-Encoding: chunked", b""]
    sent = b"\r\n".join([*lines, b"2", b"ab", b"0", b"", b""]) + LAST
    answer = asyncio.run(_exchange(sent, app=_whole))
    assert b"whole:ab" in answer
    assert answer.endswith(b"whole:last")


def test_only_the_header_that_asks_for_another_protocol_is_left_out() -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)
        await _whole(scope, receive, send)

    more = (b"X-Twice: a", b"X-Empty:", b"X-Twice: \xe4 b", b"Connection: close")
    asyncio.run(_exchange(_post(b"x", *UPGRADE, *more, path=b"/a%20b?c=d"), app=app))
    (scope,) = seen
    assert (scope["method"], scope["path"], scope["query_string"]) == ("POST", "/a b", b"c=d")
    fields = [(b"host", b"localhost"), (b"content-length", b"1")]
    fields += [(b"connection", b"Upgrade, HTTP2-Settings"), (b"http2-settings", b"AA")]
    fields += [(b"x-twice", b"a"), (b"x-empty", b""), (b"x-twice", b"\xe4 b")]
    assert scope["headers"] == [*fields, (b"connection", b"close")]


def test_what_follows_a_request_for_a_proxy_is_not_read() -> None:
    sent = b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n" + LAST
    answer = asyncio.run(_exchange(sent, app=_whole))
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"last" not in answer


NOT_HTTP = [
    b"GARBAGE\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
    b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
    b"GET http:// HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: elsewhere\r\n\r\n",
    _post(b"x", b"Transfer-Encoding: chunked"),
    b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nno size",
]


@pytest.mark.parametrize("sent", NOT_HTTP)
def test_what_is_not_http_is_refused_as_other_errors_are_and_not_logged(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        with contextlib.suppress(ClientGoneError):
            await _whole(scope, receive, send)

    head, _, body = asyncio.run(_exchange(sent, app=app)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n")
    error = msgspec.json.decode(body, type=ErrorBody).error
    assert (error.code, error.message) == ("bad_request", "the request is not valid HTTP/1.1")
    assert error.request_id
    assert not [each for each in caplog.records if each.name.startswith("uvicorn")]


@pytest.mark.parametrize("path", [b"/", b"/slow"])
@pytest.mark.parametrize("bad", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000])
def test_a_refusal_does_not_take_the_place_of_an_answer_that_is_due(
    path: bytes, bad: bytes
) -> None:
    sent = _post(b"one", path=path) + _post(b"two", path=path) + bad
    answer = asyncio.run(_exchange(sent, app=_whole))
    said = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    assert said == [b"whole:one", b"whole:two"]
    assert b" 4" not in answer


def test_a_bad_body_is_not_refused_in_the_place_of_an_answer_before_it() -> None:
    sent = _post(b"one", path=b"/slow") + NOT_HTTP[-1]
    assert asyncio.run(_exchange(sent, app=_whole)) == b""


STRAY = [
    (_post(b"one"), b"\r\n"),
    # answered before its body has come
    (b"POST /early HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n", b"x"),
]


async def _early(scope: dict[str, Any], receive: Any, send: Any) -> None:
    assert scope["extensions"][EXCHANGE].answer(b"content-length: 2\r\n\r\nok")


@pytest.mark.parametrize(("request_", "stray"), STRAY)
def test_bytes_that_are_no_request_do_not_keep_a_connection(request_: bytes, stray: bytes) -> None:
    async def dribble() -> bytes:
        async with _connection(_early, keep_alive_s=0.05) as (reader, writer, _):
            writer.write(request_)
            answer = await reader.readuntil(b"ok")
            rest = asyncio.create_task(reader.read())
            with contextlib.suppress(ConnectionError):  # closed with bytes unread
                while not rest.done():
                    writer.write(stray)
                    await asyncio.wait([rest], timeout=0.01)
                answer += await rest
            return answer

    assert asyncio.run(asyncio.wait_for(dribble(), 20)).endswith(b"ok")


def test_a_request_keeps_a_connection_however_long_it_and_its_answer_take() -> None:
    async def slowly() -> bytes:
        later: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            if scope["path"] == "/late":
                await later
            await _whole(scope, receive, send)

        async with _connection(app, keep_alive_s=0.02) as (reader, writer, _):
            late = _post(b"late", path=b"/late")
            writer.write(_post(b"one") + late[:10])
            answer = await reader.readuntil(b"one")
            await asyncio.sleep(0.05)
            writer.write(late[10:])
            await asyncio.sleep(0.05)
            later.set_result(None)
            return answer + await reader.read()

    assert asyncio.run(slowly()).endswith(b"whole:late")


LARGE = 16 << 20  # more than the buffers of two sockets take


def _large(size: int, *, close: bool) -> Any:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"%d" % size)] + [(b"connection", b"close")] * close
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(size)})

    return app


async def _unread(client: Callable[[socket.socket], Awaitable[int]], app: Any) -> int:
    """What a client gets of a large answer that it does not read at first."""
    async with _connection(app, keep_alive_s=0.02) as (_, writer, _):
        address = writer.get_extra_info("peername")
        with socket.socket() as slow:
            slow.setblocking(False)
            await asyncio.get_running_loop().sock_connect(slow, address)
            slow.send(_post(b""))
            return await client(slow)


async def _rest(slow: socket.socket) -> int:
    loop, got = asyncio.get_running_loop(), 0
    with contextlib.suppress(ConnectionError):
        while piece := await loop.sock_recv(slow, 1 << 20):
            got += len(piece)
    return got


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("pauses", [False, True])
def test_a_client_that_does_not_read_its_answer_is_given_up(
    pauses: bool, close: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "UNREAD_S", 0.05)
    if not pauses:  # as when little is left to send
        monkeypatch.setattr(protocol.BoundedProtocol, "pause_writing", lambda self: None)
    lost = asyncio.Event()
    end = protocol.BoundedProtocol.connection_lost

    def connection_lost(self: protocol.BoundedProtocol, exc: Exception | None) -> None:
        end(self, exc)
        lost.set()

    monkeypatch.setattr(protocol.BoundedProtocol, "connection_lost", connection_lost)

    async def client(slow: socket.socket) -> int:
        await asyncio.wait_for(lost.wait(), 20)
        return await _rest(slow)

    assert asyncio.run(_unread(client, _large(LARGE, close=close))) < LARGE


@pytest.mark.parametrize("close", [False, True])
def test_a_client_that_reads_slowly_gets_its_answer(
    close: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused: list[protocol.BoundedProtocol] = []
    pause = protocol.BoundedProtocol.pause_writing

    def pause_writing(self: protocol.BoundedProtocol) -> None:
        pause(self)
        paused.append(self)

    monkeypatch.setattr(protocol.BoundedProtocol, "pause_writing", pause_writing)
    looks = 0

    async def client(slow: socket.socket) -> int:
        nonlocal looks
        loop = asyncio.get_running_loop()
        got = len(await loop.sock_recv(slow, 1))
        (server,) = paused
        while unread := server.transport.get_write_buffer_size():
            while unread == server.transport.get_write_buffer_size():
                got += len(await loop.sock_recv(slow, 10_000))
            if server.transport.get_write_buffer_size():
                server._look_at_reader()  # as if the time were over
                looks += 1
        return got + await _rest(slow)

    assert asyncio.run(_unread(client, _large(LARGE, close=close))) > LARGE
    assert looks > 1


async def _half_closed(sent: bytes, app: Any) -> bytes:
    async with _connection(app) as (reader, writer, _):
        writer.write(sent)
        writer.write_eof()
        return await reader.read()


@pytest.mark.parametrize("path", [b"/", b"/slow", b"/late"])
def test_a_client_that_only_stops_sending_is_answered(
    path: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = asyncio.Event()
    end = protocol.BoundedProtocol.eof_received

    def eof_received(self: protocol.BoundedProtocol) -> bool:
        ended.set()
        return end(self)

    monkeypatch.setattr(protocol.BoundedProtocol, "eof_received", eof_received)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if path == b"/late":
            assert not scope["extensions"][EXCHANGE].has_left()
            await ended.wait()
            assert scope["extensions"][EXCHANGE].has_left()
        await _whole(scope, receive, send)

    answer = asyncio.run(_half_closed(_post(b"one", path=path), app))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"whole:one")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", LAST[:-1]])
def test_a_client_that_stops_before_its_request_is_whole_is_not_waited_for(sent: bytes) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        with pytest.raises(ClientGoneError):
            await _whole(scope, receive, send)

    assert asyncio.run(_half_closed(sent, app)) == b""
