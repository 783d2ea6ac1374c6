"""The server does what its own description says: requests made from it, good ones and bad ones."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator
from tests.serve.conftest import ROW, Served, deploy
from tests.serve.test_own_estimator import deploy_own
from tests.serve.test_server import Process

from gyroscope.serve.app import create_app

WISHES = [
    {**explain, **sentence, **space}
    for explain in ({}, *({"explain": k} for k in (None, 0, 1, 6, 7, -1, "all", "some", True)))
    for sentence in ({}, {"sentence": True}, {"sentence": False}, {"sentence": 1})
    for space in ({}, {"space": "probability"})
]


@pytest.mark.parametrize("own", [False, True], ids=["explained", "an estimator of one's own"])
@pytest.mark.parametrize("rows", [{"row": ROW}, {"rows": [ROW, ROW]}], ids=["one", "many"])
def test_the_server_explains_exactly_what_the_description_offers(
    tmp_path: Path, own: bool, rows: dict[str, object]
) -> None:
    if own:
        naive_bayes = pytest.importorskip("sklearn.naive_bayes")
        deploy_own(tmp_path, naive_bayes.GaussianNB())
    else:
        deploy(tmp_path, 1)
    with Served(create_app(tmp_path)) as server:
        described = server.get("/openapi.json").json()
        path = described["paths"]["/v1/models/churn/predict"]["post"]
        schema = path["requestBody"]["content"]["application/json"]["schema"]
        judge = Draft202012Validator({**schema, "components": described["components"]})
        for wish in WISHES:
            body = {**rows, **wish}
            assert (server.predict(body).status_code == 200) == judge.is_valid(body), wish
        explain = server.post("/v1/models/churn/explain", json=rows)
        assert ("/v1/models/churn/explain" in described["paths"]) == (explain.status_code == 200)


@pytest.mark.slow
def test_schemathesis_finds_nothing(state: Path, tmp_path: Path) -> None:
    process = Process(state)
    with process.client() as client:
        assert client.get("/openapi.json").status_code == 200  # the first waits for FastAPI
    command = [
        *(str(Path(sys.executable).with_name("st")), "run"),
        f"http://127.0.0.1:{process.port}/openapi.json",
        *("--seed", "26", "--max-examples", "15", "--workers", "1", "--no-color"),
        *("--phases", "examples,coverage,fuzzing", "--checks", "all"),
    ]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    finally:
        errors = process.stop(signal.SIGTERM)
    assert ran.returncode == 0, ran.stdout
    assert "failed with" not in errors
