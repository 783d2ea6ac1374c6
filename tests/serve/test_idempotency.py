"""Requests that are sent again, because their answer was lost on the way."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any

import httpx
import pytest
from tests.serve.conftest import ROW, Served, deploy
from tests.serve.test_server import PREDICT, Process

from gyroscope.errors import LogError
from gyroscope.prediction_log import FileLog
from gyroscope.serve import claims
from gyroscope.serve.app import create_app
from gyroscope.serve.logs import Spooling

BEFORE_CANARIES = """CREATE TABLE claims (
    key BLOB PRIMARY KEY,
    request BLOB NOT NULL,
    arrival_us INTEGER NOT NULL,
    version INTEGER NOT NULL
) WITHOUT ROWID"""


def ask(served: Served, key: str, body: Any = None, *, path: str = PREDICT) -> httpx.Response:
    return served.post(path, json=body or {"row": ROW}, headers={"idempotency-key": key})


def serves(served: Served, version: int) -> bool:
    return served.model("churn").current().version == version


def on_record(state: Path) -> list[Any]:
    log = FileLog(state / "log" / "churn")
    times = log.times()
    found = list(log.read().predictions)
    log.close()
    assert len(times) == len(found), "a prediction was written twice"
    return found


@pytest.mark.parametrize(
    "name", ["Idempotency-Key", "Content-Type", "Content-Encoding", "Authorization"]
)
def test_what_may_be_said_once_is_refused_if_it_is_said_twice(served: Served, name: str) -> None:
    once = [("content-type", "application/json"), ("idempotency-key", "a")]
    headers = [*[field for field in once if field[0] != name.lower()], (name, "x"), (name, "x")]
    answer = served.run(served.client.post(PREDICT, json={"row": ROW}, headers=headers))
    assert answer.status_code == 400
    assert f"{name.lower()} is given twice" in answer.json()["error"]["message"]
    assert on_record(served.state) == []


def test_a_repeated_key_gets_the_same_answer_and_leaves_one_record(served: Served) -> None:
    first, again = ask(served, "a"), ask(served, "a")
    assert first.status_code == 200
    assert again.content == first.content
    other = ask(served, "b")
    assert other.json()["prediction_id"] != first.json()["prediction_id"]
    assert len(on_record(served.state)) == 2


def test_a_batch_is_answered_once_as_a_whole(served: Served) -> None:
    rows = [{**ROW, "age": 20 + i % 60} for i in range(300)]
    first = ask(served, "a", {"rows": rows, "explain": 1})
    assert ask(served, "a", {"rows": rows, "explain": 1}).content == first.content
    assert len(on_record(served.state)) == 300


def test_requests_with_one_key_at_the_same_time_leave_one_record(served: Served) -> None:
    async def ask_at_once() -> list[httpx.Response]:
        send = served.client.post
        headers = {"idempotency-key": "a"}
        asked = (send(PREDICT, json={"row": ROW}, headers=headers) for _ in range(8))
        return await asyncio.gather(*asked)

    answers = served.run(ask_at_once())
    assert len({answer.content for answer in answers}) == 1
    assert len(on_record(served.state)) == 1


@pytest.mark.parametrize("other", [{"row": {**ROW, "age": 42}}, {"row": ROW, "explain": 1}])
def test_another_request_with_the_same_key_is_a_conflict(served: Served, other: Any) -> None:
    ask(served, "a")
    answer = ask(served, "a", other)
    assert answer.status_code == 409
    assert "used for another request" in answer.json()["error"]["message"]
    assert len(on_record(served.state)) == 1


def test_a_known_key_is_looked_up_before_anything_is_scored(served: Served) -> None:
    ask(served, "a")
    assert ask(served, "a", {"row": {**ROW, "age": -1}}).status_code == 409


def test_a_refused_request_claims_nothing(served: Served) -> None:
    assert ask(served, "a", {"row": {**ROW, "age": -1}}).status_code == 422
    assert ask(served, "a").status_code == 200


def test_a_key_is_known_after_a_restart_and_to_other_servers(state: Path) -> None:
    with Served(create_app(state)) as one, Served(create_app(state)) as other:
        first = ask(one, "a")
        assert ask(other, "a").content == first.content
    with Served(create_app(state)) as later:
        assert ask(later, "a").content == first.content
        assert ask(later, "a", {"row": {**ROW, "age": 42}}).status_code == 409
    assert len(on_record(state)) == 1


def test_a_claim_whose_record_was_never_written_is_made_good(state: Path) -> None:
    (state / "log").write_text("in the way of the folder")
    with Served(create_app(state)) as server:
        assert ask(server, "a").status_code == 503
        (state / "log").unlink()
        first = ask(server, "a")
        assert first.status_code == 200
        assert ask(server, "a").content == first.content
    assert len(on_record(state)) == 1


def test_the_version_that_answered_answers_again(served: Served) -> None:
    first = ask(served, "a")
    deploy(served.state, 2)
    served.wait_until(lambda: served.model("churn").current().version == 2)
    assert ask(served, "b").json()["version"] == 2
    assert ask(served, "a").content == first.content
    deploy(served.state, 3)
    served.wait_until(lambda: served.model("churn").current().version == 3)
    assert ask(served, "a").content == first.content
    assert len(on_record(served.state)) == 2


def test_an_answer_whose_version_is_gone_cannot_be_made_again(state: Path) -> None:
    with Served(create_app(state)) as server:
        ask(server, "a")
    for version in (2, 3):
        deploy(state, version)
    shutil.rmtree(state / "bundles" / "churn-1")
    with Served(create_app(state)) as server:
        answer = ask(server, "a")
    assert answer.status_code == 409
    assert re.search(
        r"version 1, .* serves no longer and cannot be loaded: .*churn-1",
        answer.json()["error"]["message"],
    )


@pytest.mark.parametrize("key", ["", "a b", "ä".encode().decode("latin-1"), "x" * 256])
def test_a_key_that_cannot_be_one_is_refused(served: Served, key: str) -> None:
    sent: Any = {b"idempotency-key": key.encode("latin-1")}
    answer = served.post(PREDICT, json={"row": ROW}, headers=sent)
    assert answer.status_code == 400
    assert answer.json()["error"]["problems"][0]["field"] == "Idempotency-Key"


def test_claims_hold_nothing_of_rows_and_are_forgotten_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(served, "secret key", {"row": {**ROW, "customer": "Ms Secret"}})
    ask(served, "b")
    content = b"".join(path.read_bytes() for path in served.state.glob("requests.db*"))
    assert b"ecret" not in content
    monkeypatch.setattr(claims, "HORIZON", timedelta(seconds=-1))
    monkeypatch.setattr(claims, "_FORGET_EVERY", 1)
    ask(served, "c")
    with sqlite3.connect(served.state / "requests.db") as file:
        [(n,)] = file.execute("SELECT count(*) FROM claims")
    file.close()
    assert n == 1


def test_claims_made_before_there_were_canaries_hold_on(state: Path) -> None:
    with Served(create_app(state)) as server:
        first = ask(server, "a")
    with sqlite3.connect(state / "requests.db") as file:
        file.executescript(f"ALTER TABLE claims RENAME TO new; {BEFORE_CANARIES};")
        file.execute("INSERT INTO claims SELECT key, request, arrival_us, version FROM new")
        file.execute("DROP TABLE new")
    file.close()
    with Served(create_app(state)) as one, Served(create_app(state)) as other:
        assert ask(one, "a").content == first.content
        assert ask(other, "b").content == ask(one, "b").content
        for version in (2, 3):
            deploy(state, version)
            one.wait_until(partial(serves, one, version))
        assert "was not noted then" in ask(one, "a").json()["error"]["message"]
    assert len(on_record(state)) == 2


def test_two_servers_with_the_same_keys_at_the_same_time_leave_one_record_each(
    state: Path,
) -> None:
    keys = [f"key-{i}" for i in range(40)]
    servers, clients = [], []
    for _ in range(2):
        servers.append(Process(state))
        clients += [servers[-1].client() for _ in range(2)]  # the next one writes its own address

    together = Barrier(len(clients))

    def ask_all(client: httpx.Client) -> list[bytes]:
        answers = []
        for key in keys:
            together.wait()
            answers.append(
                client.post(PREDICT, json={"row": ROW}, headers={"idempotency-key": key})
            )
        return [answer.raise_for_status().content for answer in answers]

    with ThreadPoolExecutor(len(clients)) as threads:
        answers = list(threads.map(ask_all, clients))
    for client in clients:
        client.close()
    for server in servers:
        server.stop(signal.SIGTERM)
    assert answers == answers[:1] * len(clients)
    assert len(on_record(state)) == len(keys)


def test_claims_that_were_spoilt_are_begun_anew(state: Path) -> None:
    (state / "requests.db").write_bytes(b"no database at all" * 500)
    with Served(create_app(state)) as server:
        assert ask(server, "a").status_code == 503
        assert ask(server, "a").status_code == 200


def spooling(state: Path) -> Spooling:
    return Spooling(root=state / "aside" / "spools")


def test_a_key_is_good_while_the_disk_of_the_claims_takes_nothing(state: Path) -> None:
    with Served(create_app(state, spooling=spooling(state))) as server:
        before = ask(server, "a")
        home = server.app._endpoints._claims._home._connection
        assert home is not None
        home.execute("PRAGMA query_only=ON")  # fails as on a disk that is read-only
        first = ask(server, "b")
        assert first.status_code == 200
        assert ask(server, "b").content == first.content
        assert ask(server, "a").content == before.content
        home.execute("PRAGMA query_only=OFF")
        assert ask(server, "b").content == first.content
        assert ask(server, "c").status_code == 200
    with sqlite3.connect(state / "requests.db") as file:
        [(n,)] = file.execute("SELECT count(*) FROM claims")
    file.close()
    assert n == 2  # those of a and c
    with Served(create_app(state, spooling=spooling(state))) as later:
        assert ask(later, "b").content == first.content
        assert ask(later, "b", {"row": {**ROW, "age": 42}}).status_code == 409
    assert len(on_record(state)) == 3


def test_claims_that_could_never_be_made_in_their_place_are_made_aside(state: Path) -> None:
    (state / "requests.db").symlink_to(state / "nowhere" / "requests.db")
    with Served(create_app(state, spooling=spooling(state))) as server:
        first = ask(server, "a")
        assert first.status_code == 200
        assert ask(server, "a").content == first.content
    assert len(on_record(state)) == 1


def test_where_claims_cannot_be_looked_up_no_key_is_taken_for_new(state: Path) -> None:
    (state / "requests.db").mkdir()
    with Served(create_app(state, spooling=spooling(state))) as server:
        answer = ask(server, "a")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        (state / "requests.db").rmdir()
        assert ask(server, "a").status_code == 200
    assert len(on_record(state)) == 1


def test_a_claim_that_is_made_twice_costs_no_other_claim(tmp_path: Path) -> None:
    async def twice() -> claims.Claim | None:
        ours, theirs = claims.Claims(tmp_path), claims.Claims(tmp_path)
        made = claims.Claim(key=b"k", request=b"r", arrival=datetime.now(UTC), version=1)
        await ours.make(made)
        with pytest.raises(LogError, match="cannot be used"):
            await theirs.make(made)
        found = await theirs.held(b"k")
        ours.close()
        theirs.close()
        return found

    held = asyncio.run(twice())
    assert held is not None
    assert held.request == b"r"


def test_all_servers_go_over_to_the_file_that_took_the_place_of_a_spoilt_one(
    tmp_path: Path,
) -> None:
    async def both() -> claims.Claim | None:
        ours, theirs = claims.Claims(tmp_path), claims.Claims(tmp_path)
        assert await ours.held(b"k") is None
        for path in tmp_path.glob("requests.db*"):
            path.unlink()
        made = claims.Claim(key=b"k", request=b"r", arrival=datetime.now(UTC), version=1)
        await theirs.make(made)
        found = await ours.held(b"k")
        ours.close()
        theirs.close()
        return found

    assert asyncio.run(both()) is not None
