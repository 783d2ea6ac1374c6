"""What the client sends, and what it says when the other side does not understand."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from gyroscope.client import Client
from gyroscope.errors import RequestError, RowError, UsageError

JSON = "application/json"


class Answering(BaseHTTPRequestHandler):
    status: ClassVar[int] = 200
    answer: ClassVar[bytes] = b'{"predictions": []}'
    received: ClassVar[list[Any]] = []
    keys: ClassVar[list[str]] = []
    connections: ClassVar[set[Any]] = set()
    failures: ClassVar[list[int]] = []  # statuses to answer first; 0 hangs up without an answer
    headers_too: ClassVar[dict[str, str]] = {}
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(body if self.headers["Content-Type"] != JSON else json.loads(body))
        self.keys.append(self.headers["Idempotency-Key"])
        self.connections.add(self.client_address)
        status = self.failures.pop(0) if self.failures else self.status
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        for header in {**self.headers_too, "Content-Length": str(len(self.answer))}.items():
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> type[Answering]:
    for name in ("received", "keys", "failures"):
        monkeypatch.setattr(Answering, name, [])
    monkeypatch.setattr(Answering, "connections", set())
    return Answering


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time here."""
    taken: list[float] = []
    monkeypatch.setattr("gyroscope.client.sleep", taken.append)
    return taken


@pytest.fixture
def client(other: type[Answering]) -> Iterator[Client]:
    server = HTTPServer(("127.0.0.1", 0), other)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with Client(f"http://127.0.0.1:{server.server_port}") as made:
        yield made
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_explanation_is_asked_for_and_comes_with_its_base(
    client: Client, other: type[Answering], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = b'{"base": 0.25, "predictions": [{"probability": 0.5}]}'
    monkeypatch.setattr(other, "answer", answer)
    found = client.predict("churn", [{}], explain="all", space="probability", sentence=True)
    assert found == [{"probability": 0.5, "base": 0.25}]
    assert other.received == [
        {"rows": [{}], "explain": "all", "space": "probability", "sentence": True}
    ]


def test_values_of_numpy_and_pandas_are_sent_as_json(
    client: Client, other: type[Answering]
) -> None:
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, np.nan], "ok": [True, False]})
    rows: list[dict[str, Any]] = frame.to_dict("records")
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
    rows[0] |= {"n": np.int64(1), "f": np.float32("nan"), "at": moment, "na": pd.NA, "nat": pd.NaT}
    client.predict("churn", rows)
    assert other.received[0]["rows"] == [
        {
            **{"n": 1, "x": 0.5, "ok": True, "f": None},
            **{"at": "2026-01-31T12:00:00+00:00", "na": None, "nat": None},
        },
        {"n": 2, "x": None, "ok": False},
    ]


@pytest.mark.parametrize("value", [float("inf"), np.float32("-inf"), b"bytes", [1], 1j])
def test_a_value_that_json_has_not_is_named_and_nothing_is_sent(
    client: Client, other: type[Answering], value: object
) -> None:
    with pytest.raises(RowError, match=r"row 1, price: given .*, expected a text, a finite number"):
        client.predict("churn", [{"price": 1}, {"price": value}])
    assert not other.received


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, b"<html>hello</html>"),
        (404, b"not here"),
        (500, b'{"detail": "elsewhere"}'),
        (400, b"[1]"),
        (200, b"[1]"),
        (200, b"{}"),
        (200, b'{"predictions": 5}'),
        (200, b'{"predictions": [5]}'),
        (200, b"\xff\xfe"),
    ],
)
def test_a_server_of_another_kind_is_recognised(
    client: Client,
    other: type[Answering],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    answer: bytes,
) -> None:
    monkeypatch.setattr(other, "status", status)
    monkeypatch.setattr(other, "answer", answer)
    with pytest.raises(
        RequestError, match=rf"answered {status} .* is it the address of the server"
    ):
        client.predict("churn", [{"price": 1}])


def test_an_answer_that_is_not_packed_as_it_says_is_recognised_and_not_asked_for_again(
    client: Client, other: type[Answering], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other, "headers_too", {"Content-Encoding": "gzip"})
    with pytest.raises(RequestError, match=r"answered 200 .* is it the address of the server"):
        client.predict("churn", [{"price": 1}])
    assert len(other.received) == 1


def test_a_table_that_is_none_is_recognised(
    client: Client, other: type[Answering], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        other, "headers_too", {"Content-Type": "application/vnd.apache.arrow.stream"}
    )
    with pytest.raises(RequestError, match=r"answered 200 .* is it the address of the server"):
        client.predict_table("churn", pa.table({"price": [1]}))


@pytest.mark.parametrize("request_id", ["", "two words", "é", "line\nbreak", "x" * 256])
def test_a_request_id_that_cannot_be_sent_is_refused_before(
    client: Client, other: type[Answering], request_id: str
) -> None:
    with pytest.raises(UsageError, match="request_id must be 1 to 255 visible ASCII characters"):
        client.predict("churn", [{"price": 1}], request_id=request_id)
    with pytest.raises(UsageError, match="request_id must be 1 to 255 visible ASCII characters"):
        client.predict_table("churn", pa.table({"price": [1]}), request_id=request_id)
    assert not other.received


def test_fewer_than_no_retries_are_refused() -> None:
    with pytest.raises(UsageError, match="retries must be 0 or more, got -1"):
        Client("http://127.0.0.1:9", retries=-1)


@pytest.mark.parametrize("url", ["http://[::1", "http://host:port"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is not the address of a server"):
        Client(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:9", ""])
def test_nobody_there_is_one_message(url: str, pauses: list[float]) -> None:
    with Client(url) as client, pytest.raises(RequestError, match="no answer from"):
        client.get("/v1/models")


def test_all_requests_go_over_one_connection(client: Client, other: type[Answering]) -> None:
    for _ in range(3):
        client.predict("churn", [{"price": 1}])
    assert len(other.connections) == 1
    assert len(set(other.keys)) == 3, "each request has its own key"


def test_what_may_pass_is_tried_again_with_the_same_key(
    client: Client, other: type[Answering], pauses: list[float]
) -> None:
    other.failures += [0, 503, 429]
    assert client.predict("churn", [{"price": 1}], request_id="mine") == []
    assert other.keys == ["mine"] * 4
    assert len(pauses) == 3
    assert all(0 <= pause <= 0.1 * 2**k for k, pause in enumerate(pauses))


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422, 500])
def test_what_will_not_pass_is_not_tried_again(
    client: Client,
    other: type[Answering],
    pauses: list[float],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    monkeypatch.setattr(other, "answer", b'{"error": {"message": "no"}}')
    other.failures.append(status)
    with pytest.raises(RequestError, match="no") as refused:
        client.predict("churn", [{"price": 1}])
    assert refused.value.status == status
    assert len(other.received) == 1
    assert not pauses


def test_a_server_that_stays_away_is_given_up(
    client: Client, other: type[Answering], pauses: list[float]
) -> None:
    other.failures += [0] * 9
    with pytest.raises(RequestError, match="no answer from"):
        client.predict("churn", [{"price": 1}])
    assert len(other.received) == 4


def test_a_server_may_say_how_long_to_wait() -> None:
    import httpx

    from gyroscope.client import _asked_pause

    asked = [("2", 2.0), ("3600", 5.0), ("Thu, 26 Nov 2026 19:00:00 GMT", 0.0)]
    for header, pause in asked:
        assert _asked_pause(httpx.Response(503, headers={"retry-after": header})) == pause


def test_a_server_that_does_not_answer_in_time_is_given_up(pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            Client(url, timeout_s=0.02, retries=1) as client,
            pytest.raises(RequestError, match="no answer from"),
        ):
            client.get("/v1/models")
    assert len(pauses) == 1
