"""What every HTTP exchange needs: the body within its limits, one shape of errors, safe headers."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol

import msgspec
from starlette.types import Message, Receive, Send

from gyroscope.errors import (
    FieldProblem,
    GyroscopeError,
    LogError,
    NotFoundError,
    RequestError,
    RowError,
)
from gyroscope.serve.ids import time_sorted_ids

Headers = list[tuple[bytes, bytes]]

_MOST_PROBLEMS = 1000  # listed in one answer, so that a bad batch cannot ask for a huge one
_FIELDS_NAMED = 5  # in the message of an error; all are among its problems
_NAME_SHOWN = 40  # characters of such a name
_SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
# Extension in the scope of a request: see :class:`gyroscope.serve.protocol.Exchange`.
EXCHANGE = "gyroscope.exchange"
REQUEST_ID = b"x-request-id"  # the header
IDEMPOTENCY_KEY = b"idempotency-key"  # the header
JSON = "application/json"
ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
# Headers of which a second one would say something else; of others the last one counts.
_GIVEN_ONCE = frozenset({b"authorization", b"content-encoding", b"content-type", IDEMPOTENCY_KEY})
_BESIDE_THE_TYPE: Headers = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]
JSON_HEADERS: Headers = [(b"content-type", JSON.encode()), *_BESIDE_THE_TYPE]
_ON_EVERY_ANSWER: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
_ON_ANSWERS_WITH_DATA = [*_BESIDE_THE_TYPE, *_ON_EVERY_ANSWER]
_OF_STATUS: dict[int, Headers] = {
    401: [(b"www-authenticate", b"Bearer")],
    503: [(b"retry-after", b"1")],
}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one request may ask for."""

    body_bytes: int = 10_000_000  # a larger body is answered 413
    rows: int = 10_000  # most rows or labels in one request
    body_timeout_s: float = 30.0  # a body that takes longer to arrive is answered 408

    @property
    def unpacked_bytes(self) -> int:
        """Most bytes of a packed table once it is unpacked."""
        return 10 * self.body_bytes


DEFAULT_LIMITS = Limits()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole HTTP answer."""

    status: int
    body: bytes
    kind: str = JSON  # content type
    headers: Headers = []


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong with a request, and every field that is at fault."""

    code: str  # a word for programs, e.g. "unprocessable_entity"
    message: str  # a sentence for people
    request_id: str
    problems: tuple[FieldProblem, ...] = ()


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """The one shape of all error answers."""

    error: ErrorDetail


class ClientGoneError(GyroscopeError):
    """The client closed the connection before its request was whole."""


class MethodError(RequestError):
    """The route has no such method."""

    def __init__(self, given: str, allowed: str) -> None:
        super().__init__(405, f"method {given} is not possible here, use {allowed}")
        self.allowed = allowed


class BusyError(RequestError):
    """There is too much to do at present."""

    def __init__(self, what: str, retry_s: int) -> None:
        super().__init__(503, f"{what}: nothing was stored, try again in {retry_s} s")
        self.retry_s = retry_s


class WholeExchange(Protocol):
    """What the server lends to bodies and answers that go in one piece."""

    def has_left(self) -> bool:
        """Whether the client has ended the connection, at least its side of it; in any thread."""
        ...

    def body(self) -> bytes | None:
        """The body; None unless all of it has arrived."""
        ...

    def answer(self, data: bytes) -> bool:
        """Send the headers and body of a success; False, and nothing sent, if it has to wait."""
        ...


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request to one of the routes that compute, read to its end."""

    model: str
    headers: dict[bytes, bytes]
    kind: str  # content type of the body
    query: bytes = b""
    body: bytes
    exchange: WholeExchange | None = None

    def has_left(self) -> bool:
        """Whether its client is known to have ended the connection; in any thread."""
        return self.exchange is not None and self.exchange.has_left()


class Reply:
    """The ``send`` of one exchange, with the headers that every answer carries."""

    def __init__(self, send: Send, request_id: str, exchange: WholeExchange | None = None) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self.exchange = exchange
        self.status = 0  # 0 until the answer has begun

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            own = [*_ON_EVERY_ANSWER, (REQUEST_ID, self._request_id)]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await self._send(message)

    async def answer(self, answer: Answer, *, close: bool = False) -> None:
        """Send a whole answer; ``close`` the connection if its body was not read to the end."""
        self.status = answer.status
        whole = answer.status == HTTPStatus.OK and not close and not answer.headers
        if whole and self.exchange is not None:
            data = whole_success(answer.body, self._request_id, answer.kind)
            if self.exchange.answer(data):
                return
        headers = [
            (b"content-length", str(len(answer.body)).encode()),
            (REQUEST_ID, self._request_id),
            (b"content-type", answer.kind.encode()),
            *_ON_ANSWERS_WITH_DATA,
            *answer.headers,
        ]
        if close:
            headers.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": answer.body})


def whole_success(body: bytes, request_id: bytes, kind: str = JSON) -> bytes:
    """Headers and body of an answer with status 200."""
    return _head_of_success(kind) % (request_id, len(body)) + body


@lru_cache(maxsize=8)  # there are not that many content types
def _head_of_success(kind: str) -> bytes:
    """Headers of an answer; request id and length are to be filled in."""
    headers = [(b"content-type", kind.encode()), *_ON_ANSWERS_WITH_DATA]
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return b"%bx-request-id: %%b\r\ncontent-length: %%d\r\n\r\n" % lines


def request_id_of(headers: dict[bytes, bytes]) -> str:
    """The client's ``X-Request-Id`` if it is short and plain, else a new one."""
    given = headers.get(REQUEST_ID, b"")
    return given.decode() if _SANE_REQUEST_ID.fullmatch(given) else time_sorted_ids(1)[0]


def error_answer(
    error: RequestError | RowError | LogError | NotFoundError, request_id: str
) -> Answer:
    """The answer for an error that was raised on purpose."""
    match error:
        case NotFoundError():
            return error_of_status(404, str(error), request_id)
        case MethodError():
            answer = error_of_status(405, str(error), request_id)
            return msgspec.structs.replace(answer, headers=[(b"allow", error.allowed.encode())])
        case BusyError():
            answer = error_of_status(error.status, str(error), request_id)
            retry = (b"retry-after", str(error.retry_s).encode())
            return msgspec.structs.replace(answer, headers=[retry])
        case RequestError():
            return error_of_status(error.status, str(error), request_id, error.problems)
        case RowError():
            message = "the rows do not fit the contract of the model"
            return error_of_status(422, message, request_id, error.problems)
        case LogError():
            message = "nothing was stored, since the log cannot be written: see /readyz, try again"
            return error_of_status(503, message, request_id)


def error_of_status(
    status: int, message: str, request_id: str, problems: Sequence[FieldProblem] = ()
) -> Answer:
    """The answer for an HTTP status; the message names the first fields that are at fault."""
    listed = tuple(problems[:_MOST_PROBLEMS])
    names = list(dict.fromkeys(problem.field[:_NAME_SHOWN] for problem in listed))
    if names:
        message += f", in: {', '.join(names[:_FIELDS_NAMED])}"
        message += ", ..." if len(names) > _FIELDS_NAMED else ""
    if len(problems) > _MOST_PROBLEMS:
        message += f"; the first {_MOST_PROBLEMS} of {len(problems)} problems are listed"
    detail = ErrorDetail(
        code=HTTPStatus(status).name.lower(),
        message=message,
        request_id=request_id,
        problems=listed,
    )
    body = msgspec.json.encode(ErrorBody(error=detail))
    return Answer(status=status, body=body, headers=_OF_STATUS.get(status, []))


def fault_answer(request_id: str) -> Answer:
    """The answer when the server itself is at fault; tells nothing of the inside."""
    message = "a fault of the server, not of the request; its log has more under this request id"
    return error_of_status(500, message, request_id)


def check_given_once(headers: Headers) -> None:
    """Refuse a request that says in two headers what may be said in one.

    Raises:
        RequestError: status 400.
    """
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in _GIVEN_ONCE and name in seen:
            raise RequestError(400, f"the header {name.decode()} is given twice: send one")
        seen.add(name)


def has_body(headers: dict[bytes, bytes]) -> bool:
    """Whether the client announced a body."""
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def check_content_type(headers: dict[bytes, bytes], accepted: Sequence[str]) -> str:
    """The content type of the body, one of those ``accepted``; JSON only in UTF-8.

    A missing type is refused as well: a page in a browser may send such a request to another site
    without asking first, and JSON is what it may not send.

    Raises:
        RequestError: status 415.
    """
    given = headers.get(b"content-type", b"")
    kind, _, parameters = given.decode("latin-1").lower().partition(";")
    kind, parameters = kind.strip(), parameters.replace(" ", "").replace('"', "")
    possible = ("", "charset=utf-8") if kind == JSON else ("",)
    if kind not in accepted or parameters not in possible:
        raise RequestError(415, f"the content type must be {' or '.join(accepted)}, JSON in UTF-8")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise RequestError(415, "compressed bodies are not accepted: send the body as it is")
    return kind


def answer_type(headers: dict[bytes, bytes], offered: Sequence[str]) -> str:
    """The type of those ``offered`` that the ``Accept`` header likes best, else the first.

    Raises:
        RequestError: status 406, it likes none.
    """
    given = headers.get(b"accept", b"*/*").decode("latin-1").lower()
    liked = dict(map(_preference, given.split(",")))
    ranks = {}
    for kind in offered:
        names = (kind, kind.partition("/")[0] + "/*", "*/*")
        found = next((name for name in names if name in liked), None)
        if found is not None and liked[found] > 0:
            ranks[kind] = liked[found], -names.index(found)  # of equals, the one named exactly
    if not ranks:
        raise RequestError(406, f"the answer can be {' or '.join(offered)}: see the Accept header")
    return max(ranks, key=lambda kind: ranks[kind])


def _preference(item: str) -> tuple[str, float]:
    """A media range of an Accept header and its weight; 0 if that is no number."""
    name, _, parameters = item.partition(";")
    weight = 1.0
    for parameter in parameters.split(";"):
        if parameter.strip().startswith("q="):
            try:
                weight = float(parameter.strip()[2:])
            except ValueError:
                weight = 0.0
    return name.strip(), weight


async def read_body(
    receive: Receive,
    headers: dict[bytes, bytes],
    limits: Limits,
    exchange: WholeExchange | None = None,
) -> bytes:
    """Read the whole body, or stop as soon as it is too large or too slow.

    Raises:
        RequestError: status 413 or 408.
        ClientGoneError: the connection was closed first.
    """
    if _announced(headers) > limits.body_bytes:
        raise _too_large(limits)
    body = None if exchange is None else exchange.body()
    if body is not None:
        if len(body) > limits.body_bytes:  # sent in chunks, so its size was not announced
            raise _too_large(limits)
        return body
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            return await _received(receive, limits)
    except TimeoutError:
        raise RequestError(
            408, f"the body did not arrive within {limits.body_timeout_s:g} seconds"
        ) from None


def _announced(headers: dict[bytes, bytes]) -> float:
    """The bytes of the body as its headers say, 0 if they do not; infinite if that is no number."""
    declared = headers.get(b"content-length", b"0")
    return int(declared) if len(declared) <= 18 and declared.isdigit() else math.inf


async def pass_over_body(receive: Receive, headers: dict[bytes, bytes], limits: Limits) -> None:
    """Read what is still to come of the body of a refused request, and keep nothing.

    Many clients read no answer before they have sent all: one that is hung up on meanwhile is told
    by its system that the connection was reset, and not why. Whoever waits to be asked for the body
    is not asked, and what is far too large, or too slow, is not waited for.
    """
    left = limits.unpacked_bytes
    if headers.get(b"expect", b"").lower() == b"100-continue" or _announced(headers) > left:
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(limits.body_timeout_s):
            while left > 0:
                message = await receive()
                if not message.get("more_body", False):  # the end, or the client has gone
                    return
                left -= len(message.get("body", b""))


async def _received(receive: Receive, limits: Limits) -> bytes:
    chunks: list[Any] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError("the client closed the connection")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limits.body_bytes:
            raise _too_large(limits)
        if not message.get("more_body", False):
            return b"".join([*chunks, chunk]) if chunks else chunk
        chunks.append(chunk)


def _too_large(limits: Limits) -> RequestError:
    return RequestError(
        413,
        f"the body may have at most {limits.body_bytes:,} bytes: "
        "send the rows in several requests, or raise max_body_mb",
    )
