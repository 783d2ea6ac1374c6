"""Requests for one row that no task answers: they are answered as all others are."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serve.conftest import ROW, Served, deploy, small_bundle
from tests.serve.test_predict import logged, rows
from uvicorn.server import ServerState

from gyroscope.errors import LogError
from gyroscope.serve import direct, protocol
from gyroscope.serve.app import Application, create_app
from gyroscope.serve.direct import _Passage
from gyroscope.serve.guard import Guard
from gyroscope.serve.http import Limits
from gyroscope.serve.listener import Listener
from gyroscope.serve.protocol import BoundedProtocol
from gyroscope.serve.requests import PredictRequest, predict_request

NOW = "Fri, 27 Nov 2026 04:00:00 GMT"
PATH = "/v1/models/churn/predict"
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Heard(NamedTuple):
    """An answer as it came by the connection."""

    status: int
    headers: dict[str, str]
    body: Any


@asynccontextmanager
async def connected(
    app: Application, connections: set[Any] | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the protocol that the server speaks."""
    config = Listener(app, app.state / "unused", "127.0.0.1").config
    config.load()
    loop, state = asyncio.get_running_loop(), ServerState()
    if connections is not None:
        state.connections = connections
    state.default_headers = [(b"date", NOW.encode())]
    server = await loop.create_server(lambda: BoundedProtocol(config, state, {}, loop), "127.0.0.1")
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            for left in list(state.connections):
                left.transport.abort()
            await asyncio.sleep(0)


async def answer(reader: asyncio.StreamReader) -> Heard:
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    status, *lines = head.rstrip().split("\r\n")
    assert status.startswith("HTTP/1.1 ")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    body = await reader.readexactly(int(headers["content-length"]))
    return Heard(int(status.split()[1]), headers, json.loads(body))


def post(body: Any, *more: str, path: str = PATH) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = [
        *("Host: localhost", "Content-Type: application/json", f"Content-Length: {len(content)}"),
        *more,
    ]
    return "\r\n".join([f"POST {path} HTTP/1.1", *fields, "", ""]).encode() + content


def in_turn(server: Served, sent: Sequence[bytes]) -> list[Heard]:
    """What is answered to requests on one connection, each sent after the answer before."""

    async def turns() -> list[Heard]:
        async with connected(server.app) as (reader, writer):
            heard = []
            for request in sent:
                writer.write(request)
                heard.append(await answer(reader))
            return heard

    return server.run(turns())


def said(heard: Heard, *, timed: bool = True) -> Any:
    """An answer without what differs each time."""
    each_time = {"prediction_id", "request_id", *(() if timed else ("time",))}

    def lasting(told: Any) -> Any:
        if isinstance(told, list):
            return list(map(lasting, told))
        if not isinstance(told, dict):
            return told
        return {name: lasting(value) for name, value in told.items() if name not in each_time}

    return heard.status, lasting(heard.body)


@pytest.fixture
def taken(churn: Served, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request that was looked at was taken."""
    return spied(churn, monkeypatch)


def spied(server: Served, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    found: list[bool] = []
    take = server.app.direct.take

    def noted(*arguments: Any) -> bool:
        found.append(take(*arguments))
        return found[-1]

    monkeypatch.setattr(server.app.direct, "take", noted)
    return found


BAD = {"age": 130, "balance": "12", "job": "baker", "town": 7, "owner": "perhaps", "joined": "soon"}
changes = st.dictionaries(
    st.sampled_from([*BAD, "extra", "at", "churned"]), st.sampled_from([None, 0, 1.5, "?", *BAD])
)
options = st.fixed_dictionaries(
    {},
    optional={
        "explain": st.sampled_from([None, 0, 2, "all", 7, -1, "many"]),
        "space": st.sampled_from(["margin", "probability", "room"]),
        "sentence": st.booleans(),
    },
)


@given(row=rows, changed=changes, asked=options)
@settings(max_examples=60, deadline=None)
def test_an_answer_is_the_one_that_a_task_gives(
    churn: Served, row: dict[str, Any], changed: dict[str, Any], asked: dict[str, Any]
) -> None:
    body = {"row": {**row, **changed}, **asked}
    [direct] = in_turn(churn, [post(body)])
    given = churn.predict(body)
    timed = body["row"].get("at") is not None
    other = Heard(given.status_code, {}, given.json())
    assert said(direct, timed=timed) == said(other, timed=timed)


def test_a_row_is_on_record_when_it_is_answered(churn: Served, taken: list[bool]) -> None:
    [first, second] = in_turn(churn, [post({"row": ROW}), post({"row": ROW, "explain": 0})])
    assert taken == [True, True]
    assert first.headers["x-request-id"] == first.body["prediction_id"]
    on_record = {p.id: p.score for p in logged(churn.state).predictions}
    for heard in (first, second):
        assert on_record[heard.body["prediction_id"]] == heard.body["probability"]


@pytest.mark.parametrize(
    "request_of",
    [
        post({"rows": [ROW]}),
        post({"row": {**ROW, "age": -1}}),
        post(b"{"),
        post({"row": ROW}, path="/v1/models/none/predict"),
    ],
)
def test_what_is_no_sound_row_is_left_to_a_task(
    churn: Served, taken: list[bool], request_of: bytes
) -> None:
    in_turn(churn, [request_of])
    assert taken == [False]


def test_a_batch_is_not_read_twice(churn: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[bytes] = []

    def noted(body: bytes, *more: Any) -> PredictRequest:
        read.append(body)
        return predict_request(body, *more)

    monkeypatch.setattr(direct, "predict_request", noted)
    heard = in_turn(churn, [post({"explain": 0, "rows": [ROW, ROW]}), post({"row": ROW})])
    assert [one.status for one in heard] == [200, 200]
    assert read == [json.dumps({"row": ROW}).encode()]


def test_a_row_that_looks_like_a_batch_is_answered_as_others_are(
    churn: Served, taken: list[bool]
) -> None:
    row = {**ROW, "at": "2026-01-05T08:00:00Z"}
    sent = [post({"row": {"note": note, **row}, "explain": 2}) for note in ("rows", "words")]
    [alike, taken_directly] = in_turn(churn, sent)
    assert taken == [False, True]
    assert said(alike) == said(taken_directly)


@pytest.mark.parametrize(
    ("more", "status"),
    [("Idempotency-Key: one", 200), ("Content-Encoding: gzip", 415), ("Expect: 100-continue", 100)],
)
def test_a_head_that_says_more_is_left_to_a_task(
    churn: Served, taken: list[bool], more: str, status: int
) -> None:
    async def asked() -> int:
        async with connected(churn.app) as (reader, writer):
            writer.write(post({"row": ROW}, more))
            return int((await reader.readline()).split()[1])

    assert churn.run(asked()) == status
    assert True not in taken


LENGTH = len(json.dumps({"row": ROW}))
REQUESTS = [
    post({"row": ROW}),
    post({"row": {**ROW, "age": 42}}),
    post({"row": {**ROW, "age": 7}, "explain": 1}),
    post({"row": {**ROW, "age": -1}}),
    post({"rows": [ROW, ROW]}),
    post({"row": ROW}, "X-Request-Id: mine"),
    post(b'{"row": '),
    HEALTH,
    post({"row": ROW}).replace(
        b"Content-Length: %d\r\n\r\n" % LENGTH,
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % LENGTH,
    )
    + b"\r\n0\r\n\r\n",
]


@pytest.fixture(scope="module")
def expected(churn: Served) -> list[Any]:
    """What is answered to each of the requests by itself."""
    return [said(heard, timed=False) for heard in in_turn(churn, REQUESTS)]


@given(
    chosen=st.lists(st.sampled_from(range(len(REQUESTS))), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 3000), max_size=6),
    again=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_however_requests_are_cut_each_gets_its_own_answer_in_its_turn(
    churn: Served, expected: list[Any], chosen: list[int], cuts: list[int], again: bool
) -> None:
    stream = b"".join(REQUESTS[i] for i in chosen)
    places = [0, *sorted({cut % len(stream) for cut in cuts} - {0}), len(stream)]

    async def heard() -> list[Heard]:
        async with connected(churn.app) as (reader, writer):
            for begin, end in pairwise(places):
                writer.write(stream[begin:end])
                await asyncio.sleep(0)  # the server may read it, or may not yet
            found = [await answer(reader) for _ in chosen]
            if again:  # the connection is in order
                writer.write(REQUESTS[0])
                assert said(await answer(reader), timed=False) == expected[0]
            return found

    assert [said(one, timed=False) for one in churn.run(heard())] == [expected[i] for i in chosen]


def test_a_known_head_is_not_parsed_again_and_only_the_same_is_known(
    churn: Served, taken: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = post({"row": {**ROW, "age": 77}})
    assert len(other) == len(REQUESTS[0])
    in_turn(churn, [REQUESTS[0]])
    parsed: list[bytes] = []
    parse = BoundedProtocol._parse

    def noted(self: BoundedProtocol, data: bytes) -> None:
        parsed.append(data)
        parse(self, data)

    monkeypatch.setattr(BoundedProtocol, "_parse", noted)
    lower = other.replace(b"Host: localhost", b"host: localhost")
    in_turn(churn, [other, lower, lower, REQUESTS[0]])
    assert parsed == [lower]
    assert taken == [True] * 5


def test_a_key_is_asked_for_each_time(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Served(create_app(state, guard=Guard(key="secret"))) as server:
        taken = spied(server, monkeypatch)
        right, wrong = (
            post({"row": ROW}, f"Authorization: Bearer {key}") for key in ("secret", "S")
        )
        heard = in_turn(server, [right, right])
        for refused in (wrong, post({"row": ROW}), wrong):
            heard += in_turn(server, [refused])
        heard += in_turn(server, [right])
    assert [one.status for one in heard] == [200, 200, 401, 401, 401, 200]
    assert taken == [True] * 3


def test_what_goes_wrong_on_the_way_is_answered_in_shape(
    churn: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = churn.app._logs.of("churn")

    def broken(*_: object, **__: object) -> None:
        raise ValueError(ROW["job"])

    def full(*_: object) -> None:
        raise LogError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("gyroscope.serve.lane.numbers_of", broken)
        [fault] = in_turn(churn, [post({"row": ROW})])
    with monkeypatch.context() as patched:
        patched.setattr(log._appends._predictions, "_write", full)
        [refused] = in_turn(churn, [post({"row": ROW})])
    with monkeypatch.context() as patched:
        patched.setattr(log, "hand_in", full)
        [closed] = in_turn(churn, [post({"row": ROW})])
    [fine] = in_turn(churn, [post({"row": ROW})])
    assert [one.status for one in (fault, refused, closed, fine)] == [500, 503, 503, 200]
    assert fault.body["error"]["code"] == "internal_server_error"
    assert fault.body["error"]["request_id"] == fault.headers["x-request-id"]
    assert f"{fault.headers['x-request-id']} failed with ValueError" in caplog.text
    assert "nurse" not in caplog.text


def test_a_score_that_overflows_is_refused(tmp_path: Path) -> None:
    deploy(tmp_path, 1, bundle=small_bundle(1, balance_scale=1e3))
    with Served(create_app(tmp_path)) as server:
        [heard] = in_turn(server, [post({"row": {**ROW, "balance": 1e15}, "explain": 0})])
        assert heard.status == 200
        [heard] = in_turn(server, [post({"row": {**ROW, "balance": 1.7e308}})])
    assert heard.status == 422
    assert heard.body["error"]["problems"][0]["given"].startswith("numbers so large")


def test_a_connection_that_is_to_be_closed_is_closed_after_its_answer(churn: Served) -> None:
    async def asked() -> bytes:
        async with connected(churn.app) as (reader, writer):
            writer.write(post({"row": ROW}, "Connection: close"))
            return await reader.read()

    found = churn.run(asked())
    assert found.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"prediction_id" in found


def test_answers_say_when_they_were_made_as_all_others_do(churn: Served) -> None:
    one, many = in_turn(churn, [post({"row": ROW}), post({"rows": [ROW]})])
    assert one.headers["date"] == NOW.lower()
    assert set(one.headers) == set(many.headers)


def test_a_client_that_leaves_meanwhile_harms_nobody(churn: Served) -> None:
    before = len(logged(churn.state).predictions)

    async def left() -> None:
        async with connected(churn.app) as (_, writer):
            writer.write(post({"row": ROW}))
            await writer.drain()
            writer.transport.abort()
        async with connected(churn.app) as (reader, writer):
            writer.write(post({"row": ROW}))
            assert (await answer(reader)).status == 200

    churn.run(left())
    assert len(logged(churn.state).predictions) - before in (1, 2)


def test_a_client_that_leaves_between_its_own_requests_harms_nobody(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvloop raises if a closed connection is written to: a whole group went without answers."""
    begun, go_on = threading.Semaphore(0), threading.Semaphore(1)

    async def left(app: Application) -> list[dict[str, Any]]:
        loop, faults = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: faults.append(context))
        async with connected(app) as (reader, writer):
            leaving = socket.create_connection(writer.get_extra_info("peername"))
            leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            leaving.sendall(post({"row": ROW}) * 3)
            await asyncio.to_thread(begun.acquire)
            await asyncio.to_thread(begun.acquire)  # the first was answered
            leaving.close()
            writer.write(HEALTH)
            await answer(reader)  # the server has looked at its connections since
            go_on.release(10)
            writer.write(post({"row": ROW}))
            assert (await answer(reader)).status == 200
        return faults

    with Served(create_app(state), loop_factory=uvloop.new_event_loop) as server:
        appends = server.app._logs.of("churn")._appends._predictions
        write = appends._write

        def written(rows: Any) -> None:
            begun.release()
            go_on.acquire()
            write(rows)

        monkeypatch.setattr(appends, "_write", written)
        assert server.run(left(server.app)) == []


@pytest.mark.parametrize("where", ["scored", "written"])
def test_telling_one_may_fail_and_the_others_are_answered(
    churn: Served, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    deed = getattr(_Passage, where)
    calls: list[None] = []

    def failing(self: _Passage, outcome: Any) -> None:
        calls.append(None)
        if len(calls) == 1:
            raise RuntimeError("the connection is closed")
        deed(self, outcome)

    monkeypatch.setattr(_Passage, where, failing)

    async def asked() -> tuple[int, int]:
        faults: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))
        async with connected(churn.app) as (_, one), connected(churn.app) as (reader, other):
            one.write(post({"row": ROW}))
            other.write(post({"row": ROW}))
            return (await answer(reader)).status, len(faults)

    assert churn.run(asked()) == (200, 1)


def test_an_answer_to_head_has_no_body(churn: Served) -> None:
    async def asked() -> tuple[bytes, Heard]:
        async with connected(churn.app) as (reader, writer):
            writer.write(HEALTH.replace(b"GET", b"HEAD") + HEALTH)
            return await reader.readuntil(b"\r\n\r\n"), await answer(reader)

    head, following = churn.run(asked())
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert following.body == {"status": "ok"}


def test_what_follows_a_body_is_no_header(churn: Served, taken: list[bool]) -> None:
    chunked = REQUESTS[-1].removesuffix(b"\r\n")
    [heard] = in_turn(churn, [chunked + b"Host: elsewhere\r\nIdempotency-Key: one\r\n\r\n"])
    assert heard.status == 200
    assert taken == [True]


def test_the_limit_of_bodies_holds_for_all(state: Path) -> None:
    with Served(create_app(state, limits=Limits(body_bytes=300))) as server:
        heard = in_turn(
            server, [post({"row": ROW}), post(json.dumps({"row": ROW}).encode() + b" " * 200)]
        )
    assert [one.status for one in heard] == [200, 413]


def test_what_a_client_sends_ahead_waits_outside(churn: Served) -> None:
    """Each answer let some hundred more requests in, all of which were kept."""

    async def waiting() -> list[int]:
        connections: set[Any] = set()
        async with connected(churn.app, connections) as (reader, writer):
            writer.write(post({"row": ROW}) * 5_000)
            found = []
            for _ in range(20):  # fewer than come at once
                await answer(reader)
                found += [len(one.pipeline) for one in connections]
            return found

    found = churn.run(waiting())
    assert found == sorted(found, reverse=True)


def test_a_head_that_is_not_read_meanwhile_is_not_late(
    churn: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    appends, go_on = churn.app._logs.of("churn")._appends._predictions, threading.Event()
    write = appends._write

    def written(rows: Any) -> None:
        go_on.wait()
        write(rows)

    monkeypatch.setattr(appends, "_write", written)
    monkeypatch.setattr(protocol, "HEAD_S", 0.05)

    async def asked() -> list[int]:
        loop = asyncio.get_running_loop()
        async with connected(churn.app) as (reader, writer):
            writer.write(post({"row": ROW}) * 2 + HEALTH[:9])
            loop.call_later(0.15, monkeypatch.setattr, protocol, "HEAD_S", 30.0)
            loop.call_later(0.3, go_on.set)
            heard = [await answer(reader), await answer(reader)]
            writer.write(HEALTH[9:])
            return [one.status for one in [*heard, await answer(reader)]]

    assert churn.run(asked()) == [200] * 3


def test_a_connection_that_waits_keeps_no_body(churn: Served) -> None:
    large = json.dumps({"row": {**ROW, "note": "n" * 50_000}}).encode()

    async def kept() -> list[int]:
        connections: set[Any] = set()
        async with connected(churn.app, connections) as (reader, writer):
            writer.write(post(large))
            assert (await answer(reader)).status == 200
            return [len(one.cycle.body) for one in connections]

    assert churn.run(kept()) == [0]


def test_each_answer_is_a_line_of_the_access_log(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "gyroscope.access"),
        Served(create_app(state, access_log=True)) as server,
    ):
        heard = in_turn(server, [post({"row": ROW}), post({"row": ROW}), post(b"{")])
    lines = [json.loads(r.message) for r in caplog.records if r.name == "gyroscope.access"]
    assert [line["request_id"] for line in lines] == [one.headers["x-request-id"] for one in heard]
    assert [line["status"] for line in lines] == [200, 200, 400]
    assert {line["path"] for line in lines} == {PATH}


def test_a_client_that_leaves_before_its_body_leaves_nothing_behind(
    churn: Served, taken: list[bool]
) -> None:
    head, end, _ = post({"row": ROW}).partition(b"\r\n\r\n")

    async def left() -> None:
        for _ in range(3):
            async with connected(churn.app) as (_, writer):
                writer.write(head + end)
                await writer.drain()
                writer.transport.abort()
        async with connected(churn.app) as (reader, writer):
            writer.write(REQUESTS[0])
            assert (await answer(reader)).status == 200

    churn.run(left())
    assert taken == [True]
