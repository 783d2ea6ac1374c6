"""HTTP/1.1 as the server speaks it: uvicorn's, with limits on what comes before the body."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import httptools
from starlette.types import ASGIApp, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gyroscope.serve.direct import Admitted, Direct, KnownHead
from gyroscope.serve.http import EXCHANGE, error_of_status
from gyroscope.serve.ids import time_sorted_ids

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

MOST_HEAD_BYTES = 64 << 10  # request line and headers; clients send a few hundred
HEAD_S = 30.0  # time for a request line and headers to arrive, from the first byte or connection on
_END_OF_HEAD = b"\r\n\r\n"
UNREAD_S = 30.0  # time in which a client has to take some of an answer that waits for it


class Exchange:
    """A request and its answer without the messages of ASGI, which cost more than a score does.

    For bodies that have arrived whole and answers that are sent whole; all others take the messages
    of ``cycle``, whose state is kept as it keeps it.
    """

    __slots__ = ("_cycle", "_protocol")

    def __init__(self, cycle: RequestResponseCycle, protocol: BoundedProtocol) -> None:
        self._cycle, self._protocol = cycle, protocol

    def peek(self) -> bytes | None:
        """The body, which stays where it is; None unless all of it has arrived."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        return bytes(cycle.body)

    def body(self) -> bytes | None:
        """The body, which is given away; None unless all of it has arrived."""
        body = self.peek()
        if body is not None:
            self._cycle.body = bytearray()
            if not self._protocol.pipeline:
                self._cycle.flow.resume_reading()
        return body

    def answer(self, data: bytes) -> bool:
        """Send the headers and body of a success; False, and nothing sent, if it has to wait."""
        cycle = self._cycle
        if self._is_gone():
            return True
        if cycle.flow.write_paused or cycle.response_started or not cycle.keep_alive:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.transport.write(_opening(tuple(cycle.default_headers)) + data)
        cycle.message_event.set()
        cycle.on_response()
        return True

    def hand_over(self, app: ASGIApp) -> None:
        """Have a task answer by the messages of ASGI."""
        if not self._is_gone():
            self._protocol.start_task(self._cycle, app)

    def has_left(self) -> bool:
        """Whether the client has ended the connection, at least its side of it; in any thread."""
        return self._protocol.has_ended or self._cycle.disconnected

    def _is_gone(self) -> bool:
        """Whether nobody is left to answer; a transport knows it before the protocol is told."""
        cycle = self._cycle
        cycle.disconnected = cycle.disconnected or cycle.transport.is_closing()
        return cycle.disconnected


@lru_cache(maxsize=4)  # the date is another each second
def _opening(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """How each success begins."""
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"".join([b"HTTP/1.1 200 OK\r\n", *lines])


class BoundedProtocol(HttpToolsProtocol):
    """Ends connections whose headers are endless, do not end in time, or are not HTTP.

    Body limits are the application's, which never sees a request before its headers are complete.
    """

    _head_bytes = 0
    _in_head = True
    _head_due = 0.0  # on the clock of the loop
    _head_timer: asyncio.TimerHandle | None = None
    _refused = False
    _unread = 0  # bytes that waited for the client when that was looked at last
    _unread_timer: asyncio.TimerHandle | None = None
    has_ended = False  # the client sends no more, and may have gone
    _feeding = False
    _due: tuple[RequestResponseCycle, ASGIApp] | None = None  # to begin once fed
    _under_way: RequestResponseCycle | None = None  # what is answered now; ``cycle`` came last
    _idle_due = 0.0  # when to hang up unless a request comes, on the clock of the loop
    _idle_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # An application may take requests that have arrived whole, without a task for each.
        self._direct: Direct | None = getattr(self.app, "direct", None)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._head_timer, self._unread_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        if self._under_way is not None and not self._under_way.response_complete:
            self._under_way.disconnected = True  # requests behind it are never begun
            self._under_way.message_event.set()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread_timer is not None and not self.transport.is_closing():
            self._unread_timer.cancel()
            self._unread_timer = None

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        at_head = self._at_head()
        if at_head and self._repeats(data):
            return
        self._feeding, sound = True, True
        try:
            self._parse(data)
        except httptools.HttpParserError:
            sound = False
        self._feeding = False
        if self._due is not None:
            (cycle, app), self._due = self._due, None
            admitted = self._begin(cycle, app)
            if admitted is not None and at_head:
                self._remember(data, cycle, admitted)
        if not sound:
            # No line in the log: a stranger must not be able to fill it.
            self._refuse(HTTPStatus.BAD_REQUEST, "the request is not valid HTTP/1.1")
            return
        if not self._in_head or self.transport.is_closing():
            return
        # Counted after parsing: bytes that completed a head and were its body count for nothing.
        self._head_bytes += len(data)
        if self._head_bytes > MOST_HEAD_BYTES:
            message = f"the headers are larger than {MOST_HEAD_BYTES} bytes"
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Stay, to answer a request that has arrived whole, although no other will come."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            return False
        self.has_ended = True
        cycle.keep_alive = False
        return True

    def _parse(self, data: bytes) -> None:
        """Feed the parser; what asks for another protocol is read as if it had not asked.

        The parser takes all that follows an upgrade for the other protocol's, the body as well; so
        a new one is given the same head without the header that asks, and then the rest.
        """
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            method = self.parser.get_method()
            if method == b"CONNECT":  # asks by its name, and for a proxy
                raise httptools.HttpParserError("CONNECT")
            version = self.parser.get_http_version().encode()
            headers = [b"%b: %b" % field for field in self.headers if field[0] != b"upgrade"]
            head = b"\r\n".join(
                [b"%b %b HTTP/%b" % (method, self.url, version), *headers, b"", b""]
            )
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
            self.parser.feed_data(head)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """What uvicorn calls to have a request answered; its body may be in the same bytes."""
        asked = cycle, cast(ASGIApp, app)
        if self._feeding:
            self._due = asked
        else:
            self._begin(*asked)

    def _begin(self, cycle: RequestResponseCycle, app: ASGIApp) -> Admitted | None:
        """Have a request answered; returns what its head said if no task does that."""
        self._under_way = cycle
        exchange, direct, scope = Exchange(cycle, self), self._direct, cast(Scope, cycle.scope)
        if direct is not None and not cycle.more_body:
            admitted = direct.admit(scope)
            if admitted is not None and direct.take(admitted, scope, exchange):
                return admitted
        self._start_with(exchange, cycle, app)
        return None

    def _start_with(self, exchange: Exchange, cycle: RequestResponseCycle, app: ASGIApp) -> None:
        if cycle.scope["method"] != "HEAD":  # whose answer is not sent whole
            cycle.scope["extensions"] = {EXCHANGE: exchange}  # type: ignore[dict-item]
        self.start_task(cycle, app)

    def _at_head(self) -> bool:
        """Whether the next byte begins a request, and none is under way."""
        if self._in_head and self._head_bytes:
            return False
        return self.cycle is None or (self.cycle.response_complete and not self.cycle.more_body)

    def _remember(self, data: bytes, cycle: RequestResponseCycle, admitted: Admitted) -> None:
        """Keep the head of a request, so that the same need not be parsed again.

        Clients say the same each time but for the length of the body.
        """
        end = data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        length = len(cycle.body)
        # Otherwise it came in chunks, or there is more than one request.
        if self._direct is not None and end + length == len(data) and cycle.keep_alive:
            known = KnownHead(cast(Scope, cycle.scope), length, admitted)
            self._direct.remember(data[:end], known)

    def _repeats(self, data: bytes) -> bool:
        """Begin a request that is here whole and has a known head; False if it is another."""
        direct, end = self._direct, data.find(_END_OF_HEAD) + len(_END_OF_HEAD)
        known = None if direct is None else direct.known(data[:end])
        if direct is None or known is None or end + known.length != len(data):
            return False
        if self.transport.is_closing():
            return False
        self._in_head = False
        here = {"client": self.client, "server": self.server, "state": self.app_state.copy()}
        scope: Any = {**known.scope, **here}
        self.cycle = self._under_way = cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        cycle.body, cycle.more_body = bytearray(data[end:]), False
        exchange = Exchange(cycle, self)
        if not direct.take(known.admitted, scope, exchange):
            self._start_with(exchange, cycle, self.app)
        return True

    def start_task(self, cycle: RequestResponseCycle, app: ASGIApp) -> None:
        """Have a task of its own answer a request."""
        super()._start_asgi_task(cycle, cast("ASGI3Application", app))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:  # a later request on the same connection
            self._await_head()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # read once more: see _parse
        if sum(name == b"host" for name, _ in self.headers) > 1:  # RFC 9112, section 3.2
            raise httptools.HttpParserError("two hosts")
        super().on_headers_complete()
        self._in_head = False
        self.headers = []  # what comes after the body is no header: it was not there to be checked

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        if self._under_way is not None:
            self._under_way.body.clear()  # the connection may be idle for long
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            self.flow.resume_reading()
            self._await_request()
        if self.transport.is_closing():
            self._await_reader()
        elif self.pipeline:  # or each answer would let many more requests in
            self.flow.pause_reading()

    def _await_request(self) -> None:
        self._idle_due = self.loop.time() + self.timeout_keep_alive
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_at(self._idle_due, self._look_at_idle)

    def _look_at_idle(self) -> None:
        """Only a request keeps a connection: bytes that begin none do not put this off.

        One timer for a connection looks again and again, as for heads.
        """
        self._idle_timer = None
        under_way = self.cycle is not None and not self.cycle.response_complete
        if self.loop.time() < self._idle_due:
            self._idle_timer = self.loop.call_at(self._idle_due, self._look_at_idle)
        elif not self._in_head and not under_way:
            self._hang_up()

    def _await_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._head_due = self.loop.time() + HEAD_S
        if self._head_timer is None:
            self._head_timer = self.loop.call_at(self._head_due, self._look_at_head)

    def _look_at_head(self) -> None:
        """One timer for a connection looks again and again: one for each request would cost it."""
        self._head_timer = None
        if not self._in_head:
            return
        if self.flow.read_paused:  # the rest waits for the requests before it, not for the client
            self._head_due = self.loop.time() + HEAD_S
        if self.loop.time() >= self._head_due:
            message = f"the headers did not arrive within {HEAD_S:g} s"
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, message)
        else:
            self._head_timer = self.loop.call_at(self._head_due, self._look_at_head)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer as other errors are answered, and hang up; read nothing more.

        The refusal never takes the place of an answer that is due before it: that one ends the
        connection instead.
        """
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        cycle = self.cycle
        if self._in_head:
            if cycle is not None and not cycle.response_complete:
                cycle.keep_alive = False  # the request before, which has arrived whole
                return
        elif cycle.response_started or self.pipeline:  # the body of a request
            self._hang_up()
            return
        self._answer_last(status, message)

    def give_up(self) -> None:
        """Wait no longer for the answer that is due: say so, and hang up.

        Should it come all the same, there is nobody left to send it to.
        """
        cycle = self._under_way
        if self.transport.is_closing():
            return
        if cycle is None or cycle.response_started:
            self._hang_up()
            return
        cycle.disconnected = True
        cycle.message_event.set()
        self._answer_last(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the server is stopping, and it is not known whether this was stored: try again",
        )

    def _answer_last(self, status: HTTPStatus, message: str) -> None:
        (request_id,) = time_sorted_ids(1)
        answer = error_of_status(status, message, request_id)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer.body)),
            *answer.headers,
            (b"connection", b"close"),
        ]
        lines = [b"HTTP/1.1 %d %b" % (status, status.phrase.encode())]
        lines += [b"%b: %b" % header for header in headers]
        self.transport.write(b"\r\n".join([*lines, b"", answer.body]))
        self._hang_up()

    def _hang_up(self) -> None:
        self.transport.close()
        self._await_reader()

    def _await_reader(self) -> None:
        """A client that does not read is waited for, but not for ever, to be sent what is due."""
        if self._unread_timer is None:
            self._unread = self.transport.get_write_buffer_size()
            if self._unread:
                self._unread_timer = self.loop.call_later(UNREAD_S, self._look_at_reader)

    def _look_at_reader(self) -> None:
        self._unread_timer = None
        if self.transport.get_write_buffer_size() < self._unread:
            self._await_reader()
        else:
            self.transport.abort()
