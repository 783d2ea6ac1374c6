"""Who may ask: by host name and by key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.serve.conftest import ROW, Served

from gyroscope.errors import UsageError
from gyroscope.serve.app import create_app
from gyroscope.serve.guard import Guard, is_loopback
from gyroscope.serve.server import run

KEY = "correct horse battery staple"


@pytest.fixture
def locked(state: Path) -> Iterator[Served]:
    with Served(create_app(state, guard=Guard(hosts=None, key=KEY))) as server:
        yield server


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8712", 200),
        ("127.0.0.1:8712", 200),
        ("[::1]:8712", 200),
        ("attacker.example", 421),
        ("localhost.attacker.example", 421),
        ("attacker.example:localhost", 421),
        ("127.0.0.1@attacker.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_a_loopback_server_answers_only_to_its_own_names(
    served: Served, host: str, status: int
) -> None:
    for path in ("/healthz", "/v1/models"):
        assert served.get(path, headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x"],
)
def test_nothing_but_health_is_answered_without_the_key(locked: Served, given: str | None) -> None:
    headers = {} if given is None else {"authorization": given}
    for path in ("/v1/models", "/docs", "/openapi.json", "/nothing"):
        answer = locked.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert KEY not in answer.text
    body = {"row": ROW}
    assert locked.post("/v1/models/churn/predict", json=body, headers=headers).status_code == 401
    assert locked.get("/healthz", headers=headers).status_code == 200
    assert locked.get("/readyz", headers=headers).status_code == 200


def test_the_key_opens_everything(locked: Served) -> None:
    headers = {"authorization": f"bearer {KEY}", "host": "any.example"}
    assert locked.get("/v1/models", headers=headers).status_code == 200
    answer = locked.post("/v1/models/churn/predict", json={"row": ROW}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("server.example", False),
    ],
)
def test_loopback_is_told_from_addresses_others_can_reach(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


@pytest.mark.parametrize("key", [None, ""])
def test_an_open_address_is_refused_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    monkeypatch.delenv("GYROSCOPE_API_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("GYROSCOPE_API_KEY", key)
    with pytest.raises(UsageError, match="set GYROSCOPE_API_KEY to a secret"):
        run(tmp_path, host="0.0.0.0", port=0)
