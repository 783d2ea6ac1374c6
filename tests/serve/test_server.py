"""The server as a process: what it leaves behind when it is killed, stopped, flooded or starved."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from tests.serve.conftest import ROW, deploy, small_bundle

from gyroscope.client import Client
from gyroscope.errors import UsageError
from gyroscope.prediction_log import FileLog
from gyroscope.serve.address import ADDRESS_FILE, read_address
from gyroscope.serve.server import run

SCRIPT = Path(__file__).with_name("server_process.py")
PREDICT = "/v1/models/churn/predict"


class Process:
    """A server in a process of its own."""

    def __init__(self, state: Path, **options: Any) -> None:
        self.state = state
        command = [sys.executable, str(SCRIPT), str(state), json.dumps(options)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_until(self._accepts)

    def _accepts(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()[1]
        address = read_address(self.state)
        return address is not None and address.pid == self.process.pid

    @property
    def port(self) -> int:
        address = read_address(self.state)
        assert address is not None
        return address.port

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def stop(self, how: signal.Signals) -> str:
        """Send a signal, wait for the end, return what was written to stderr."""
        self.process.send_signal(how)
        return self.process.communicate(timeout=60)[1]


class Load:
    """Clients that predict without a pause until they are stopped or the server is gone."""

    def __init__(self, process: Process, *, clients: int = 4, rows: int = 3) -> None:
        self.answers: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self._rows = rows
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._predict, args=(process.client(), bool(i % 2)))
            for i in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _predict(self, client: httpx.Client, many: bool) -> None:
        body = {"rows": [ROW] * self._rows} if many else {"row": ROW}
        with client:
            while not self._stop.is_set():
                try:
                    answer = client.post(PREDICT, json=body)
                except httpx.TransportError:
                    return  # the server is gone; what it had not answered does not count
                if answer.status_code == 200:
                    self.answers.append(answer.json())
                else:
                    self.refused.append(answer.text)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_answers(self, n: int) -> None:
        wait_until(lambda: len(self.answers) >= n)

    def wait_for_version(self, version: int) -> None:
        wait_until(lambda: bool(self.answers) and self.answers[-1]["version"] == version)

    def acknowledged(self) -> set[str]:
        """The ids of all predictions that were answered."""
        return {p["prediction_id"] for answer in self.answers for p in predictions_of(answer)}


def predictions_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.get("predictions", [answer])
    return found


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something to become true; the test's own timeout ends it otherwise."""
    while not true():
        time.sleep(0.005)


def not_on_record(state: Path, ids: set[str]) -> set[str]:
    log = FileLog(state / "log" / "churn")
    known = log.known(sorted(ids))
    log.close()
    return ids - known


@pytest.fixture
def start(state: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(**options: Any) -> Process:
        started.append(Process(state, **options))
        return started[-1]

    yield make
    for process in started:
        process.process.kill()
        process.process.communicate()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_server_has_every_acknowledged_prediction_on_record(
    start: Callable[..., Process], seed: int
) -> None:
    process = start()
    load = Load(process)
    moment = random.Random(seed).randint(30, 300)
    load.wait_for_answers(moment)
    process.stop(signal.SIGKILL)
    load.stop()
    ids = load.acknowledged()
    assert len(ids) >= moment
    assert read_address(process.state) is None
    assert not_on_record(process.state, ids) == set()


def test_a_server_told_to_stop_finishes_what_it_began(start: Callable[..., Process]) -> None:
    process = start()
    load = Load(process)
    load.wait_for_answers(50)
    errors = process.stop(signal.SIGTERM)
    load.stop()
    assert load.refused == []
    assert not_on_record(process.state, load.acknowledged()) == set()
    assert not (process.state / ADDRESS_FILE).exists()
    assert errors == ""
    assert process.process.returncode == -signal.SIGTERM


def test_champions_change_under_load_without_a_failed_or_mixed_answer(
    start: Callable[..., Process],
) -> None:
    process = start()
    load = Load(process, rows=400)
    for version in (2, 3, 4):
        load.wait_for_answers(20 * version)
        deploy(process.state, version)
        deployed = time.monotonic()
        load.wait_for_version(version)
        assert time.monotonic() - deployed < 2
    load.stop()
    assert load.refused == []
    for answer in load.answers:
        bundle = small_bundle(answer["version"])
        expected = bundle.probabilities(bundle.encoder.encode_rows([ROW]))[0]
        assert {p["probability"] for p in predictions_of(answer)} == {expected}


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        (PREDICT, "application/json", 413),
        (PREDICT, "text/plain", 415),
        ("/v1/models/none/predict", "x/y", 404),
    ],
)
def test_a_client_that_reads_only_when_it_has_sent_all_is_told_why_it_is_refused(
    start: Callable[..., Process], path: str, kind: str, status: int
) -> None:
    process = start(limits={"body_bytes": 1_000_000})
    for encoded in (False, True):
        connection = http.client.HTTPConnection("127.0.0.1", process.port, timeout=30)
        with contextlib.closing(connection):
            body = (b"x" * 100_000 for _ in range(90)) if encoded else b"x" * 9_000_000
            connection.request("POST", path, body, {"content-type": kind}, encode_chunked=encoded)
            assert connection.getresponse().status == status


def test_whoever_asks_first_whether_to_send_is_told_at_once(start: Callable[..., Process]) -> None:
    address = "127.0.0.1", start(limits={"body_bytes": 1_000_000}).port
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += "Content-Length: 2000000\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection(address, timeout=20) as client:
        client.sendall(head.encode())
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 413")


def test_a_huge_body_is_refused_without_being_kept(start: Callable[..., Process]) -> None:
    process = start(limits={"body_bytes": 1_000_000})
    piece = b"x" * 100_000
    headers = {"content-type": "application/json"}
    with process.client() as client:
        assert client.post(PREDICT, json={"row": ROW}).status_code == 200
        before = peak_memory_kb(process)
        declared = client.post(PREDICT, content=piece * 1000, headers=headers)
        streamed = client.post(PREDICT, content=(piece for _ in range(1000)), headers=headers)
        assert (declared.status_code, streamed.status_code) == (413, 413)
        assert "at most 1,000,000 bytes" in declared.json()["error"]["message"]
        assert peak_memory_kb(process) - before < 20_000
        assert client.post(PREDICT, json={"row": ROW}).status_code == 200


def peak_memory_kb(process: Process) -> int:
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def test_a_slow_body_holds_up_nobody_and_is_given_up(start: Callable[..., Process]) -> None:
    process = start(limits={"body_timeout_s": 0.5})
    head = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\n"
        'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"row"'
    )
    with socket.create_connection(("127.0.0.1", process.port), timeout=60) as slow:
        slow.sendall(head.encode())
        with process.client() as client:
            assert client.post(PREDICT, json={"row": ROW}).status_code == 200
        answer = received(slow)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive within 0.5 seconds" in answer


def test_endless_headers_are_refused_and_the_server_goes_on(
    start: Callable[..., Process],
) -> None:
    process = start()
    with socket.create_connection(("127.0.0.1", process.port), timeout=60) as endless:
        endless.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Large: ")
        with contextlib.suppress(ConnectionError):  # once it is refused
            for _ in range(100):
                endless.sendall(b"x" * 10_000)
            assert received(endless).startswith(b"HTTP/1.1 431 ")
    with process.client() as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/healthz", headers={"x-large": "x" * 20_000}).status_code == 200
        upgrade = {"connection": "upgrade", "upgrade": "websocket"}
        assert client.get("/healthz", headers=upgrade).status_code == 200
        large = {"row": {**ROW, "note": "x" * 500_000}}  # a body in one piece with its head
        assert client.post(PREDICT, json=large).status_code == 200


def received(connection: socket.socket) -> bytes:
    """All that the server sends until it closes the connection."""
    pieces = []
    while piece := connection.recv(4096):
        pieces.append(piece)
    return b"".join(pieces)


def test_a_client_that_goes_away_leaves_no_trace(start: Callable[..., Process]) -> None:
    process = start()
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", process.port)) as hasty:
        hasty.sendall(f'{head}Content-Length: 1000\r\n\r\n{{"row"'.encode())
    with process.client() as client:
        assert client.get("/healthz").status_code == 200
    assert process.stop(signal.SIGTERM) == ""


def test_the_address_file_says_where_the_server_listens(start: Callable[..., Process]) -> None:
    process = start(port=0)
    address = read_address(process.state)
    assert address is not None
    assert (address.host, address.pid) == ("127.0.0.1", process.process.pid)
    assert address.port > 0
    with process.client() as client:
        assert client.get("/readyz").json() == {"ready": True, "problems": [], "warnings": []}


def test_a_port_in_use_is_a_usage_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1 port {port}"):
            run(tmp_path, port=port)


def test_a_full_disk_at_the_start_is_an_error_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("gyroscope.serve.listener.write_atomically", full)
    with pytest.raises(OSError, match=r"No space left on device.*server\.json"):
        run(tmp_path)
    assert "Traceback" not in caplog.text


def test_the_access_log_tells_of_requests_but_not_of_rows(start: Callable[..., Process]) -> None:
    process = start(access_log=True)
    with process.client() as client:
        client.post(PREDICT, json={"row": ROW}, headers={"x-request-id": "mine"})
        client.post(f"{PREDICT}?age=41", json={"row": {**ROW, "job": "secret"}})
    lines = process.stop(signal.SIGTERM).splitlines()
    first, second = map(json.loads, lines)
    assert first["request_id"] == "mine"
    assert (first["method"], first["path"], first["status"]) == ("POST", PREDICT, 200)
    assert (second["path"], second["status"]) == (PREDICT, 422)
    assert not any(word in line for line in lines for word in ("secret", "nurse", "age"))


def test_the_key_of_the_environment_is_asked_for(
    start: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GYROSCOPE_API_KEY", "a key for tests")
    process = start(host="0.0.0.0")
    with process.client() as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/models").status_code == 401
        key = {"authorization": "Bearer a key for tests"}
        assert client.get("/v1/models", headers=key).status_code == 200


def test_the_client_gets_its_predictions_over_a_restart_of_the_server(
    start: Callable[..., Process],
) -> None:
    process = start()
    port = process.port
    with Client(f"http://127.0.0.1:{port}", retries=60) as client:
        [first] = client.predict("churn", [ROW], request_id="mine")
        process.stop(signal.SIGKILL)
        starting = threading.Thread(target=start, kwargs={"port": port})
        starting.start()
        assert client.predict("churn", [ROW], request_id="mine") == [first]
        starting.join()
        columns = {name: [value] for name, value in ROW.items()}
        [made] = client.predict_table("churn", pa.table(columns), request_id="table").to_pylist()
        assert (made["probability"], made["label"]) == (first["probability"], first["label"])
        worded = client.predict_table("churn", pa.table(columns), explain=1, sentence=True)
        assert worded["sentence"][0].as_py().startswith("Probability of ")
        [explained] = client.explain("churn", [ROW], features=2)["predictions"]
        assert len(explained["contributions"]) == 2
    log = FileLog(process.state / "log" / "churn")
    ids = {prediction.id for prediction in log.read().predictions}
    log.close()
    answers = (first["prediction_id"], made["prediction_id"], worded["prediction_id"][0].as_py())
    assert ids == set(answers)
