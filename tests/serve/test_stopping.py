"""What a server that is stopping still does: every client is told how its request ended."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.serve.conftest import ROW
from tests.serve.test_direct import Heard, answer, post
from tests.serve.test_predict import logged

from gyroscope.model import Prediction
from gyroscope.prediction_log import FileLog
from gyroscope.serve import listener
from gyroscope.serve.app import create_app
from gyroscope.serve.listener import Listener


def test_clients_are_told_to_try_again_if_the_log_stalls_when_the_server_stops(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stalled, goes_on, append = threading.Event(), threading.Event(), FileLog.append

    def stalling(log: FileLog, predictions: Sequence[Prediction]) -> None:
        stalled.set()
        goes_on.wait(30)
        append(log, predictions)

    monkeypatch.setattr(FileLog, "append", stalling)
    monkeypatch.setattr(listener, "_GRACE_S", 0.2)
    monkeypatch.setattr(listener, "_LEAVE_S", 0.2)
    monkeypatch.setattr("gc.freeze", lambda: None)

    async def stop_meanwhile() -> list[tuple[Heard, bytes]]:
        listening = socket.create_server(("127.0.0.1", 0))
        server = Listener(create_app(state), state / "server.json", "127.0.0.1")
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        address = listening.getsockname()
        connections = [await asyncio.open_connection(*address) for _ in range(2)]
        for body, (_, writer) in zip(({"row": ROW}, {"rows": [ROW]}), connections, strict=True):
            writer.write(post(body))
        while not stalled.is_set():
            await asyncio.sleep(0.01)
        server.should_exit = True
        heard = [(await answer(reader), await reader.read()) for reader, _ in connections]
        goes_on.set()
        await running
        for _, writer in connections:
            writer.close()
        return heard

    for told, rest in asyncio.run(stop_meanwhile()):
        assert told.status == 503
        assert "the server is stopping" in told.body["error"]["message"]
        assert told.headers["retry-after"] == "1"
        assert told.headers["connection"] == "close"
        assert rest == b""
    assert not [record for record in caplog.records if record.exc_info]
    assert len(list(logged(state).predictions)) == 2


def test_an_address_file_that_cannot_be_removed_does_not_keep_the_server_from_stopping_in_order(
    state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read_only(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr("gc.freeze", lambda: None)

    async def start_and_stop() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        server = Listener(create_app(state), state / "server.json", "127.0.0.1")
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started:
            await asyncio.sleep(0.01)
        monkeypatch.setattr(Path, "unlink", read_only)
        server.should_exit = True
        await running

    asyncio.run(start_and_stop())
    assert "Traceback" not in caplog.text
