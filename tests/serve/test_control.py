"""What can be read: models, health, and the description that makes a client."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import CONTRACT, N_FEATURES, Served, deploy, small_bundle

from gyroscope.data.codec import Codec
from gyroscope.data.contract import Column, ColumnType
from gyroscope.serve.app import create_app
from gyroscope.serve.champions import ModelTable
from gyroscope.serve.openapi import example_row, example_value, row_schema


def test_the_list_of_models_says_what_serves(served: Served) -> None:
    [model] = served.get("/v1/models").json()["models"]
    assert (model["model"], model["version"]) == ("churn", 1)
    assert model["serving_since"].endswith("Z")


def test_a_model_is_described_with_its_contract(served: Served) -> None:
    answer = served.get("/v1/models/churn").json()
    assert answer["version"] == 1
    assert answer["previous_version"] is None
    assert answer["metrics"] == {"roc_auc": 0.75}
    assert answer["threshold"] == 0.5
    assert answer["unit"] == "log-odds"
    names = [column["name"] for column in answer["contract"]["columns"]]
    assert names == [column.name for column in CONTRACT.columns]


def test_the_process_is_healthy_even_without_models(tmp_path: Path) -> None:
    with Served(create_app(tmp_path)) as server:
        assert server.get("/healthz").json() == {"status": "ok"}
        assert server.request("HEAD", "/healthz").status_code == 200
        ready = server.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["problems"] == ["no model is deployed yet: train one with gyro train"]


def test_ready_says_which_model_lacks_a_champion(state: Path) -> None:
    with Served(create_app(state, ["churn", "fraud"])) as server:
        ready = server.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["problems"] == ["model fraud has no champion: none yet"]


def test_ready_says_when_the_log_cannot_be_written(state: Path) -> None:
    (state / "log").write_text("in the way of the folder")
    with Served(create_app(state)) as server:
        [problem] = server.get("/readyz").json()["problems"]
        assert problem == "the log of model churn cannot be written: Not a directory"


def test_looking_whether_the_log_can_be_written_leaves_nothing_behind(served: Served) -> None:
    served.predict()
    folder = served.state / "log" / "churn"
    before = sorted(folder.iterdir())
    assert served.get("/readyz").status_code == 200
    assert sorted(folder.iterdir()) == before


def test_ready_says_when_new_champions_are_no_longer_looked_for(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise ValueError

    monkeypatch.setattr(ModelTable, "refresh", broken)
    served.wait_until(lambda: not served.watch.alive)
    [problem] = served.get("/readyz").json()["problems"]
    assert problem == "the watch for new champions has stopped: restart the server"


def test_a_fault_of_a_route_that_reads_is_answered_in_shape(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: object) -> None:
        raise ValueError(CONTRACT.positive[0] * 9)

    monkeypatch.setattr("gyroscope.serve.control._details", broken)
    answer = served.get("/v1/models/churn")
    assert answer.status_code == 500
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]
    assert "failed with ValueError" in caplog.text
    assert "yesyes" not in caplog.text + answer.text


def document(served: Served) -> dict[str, Any]:
    described: dict[str, Any] = served.get("/openapi.json").json()
    return described


def test_the_document_describes_each_model_with_its_own_rows(served: Served) -> None:
    described = document(served)
    assert {
        "/healthz",
        "/readyz",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/models/churn/predict",
        "/v1/models/churn/predict-batch",
        "/v1/models/churn/explain",
        "/v1/models/churn/labels",
    } == set(described["paths"])
    row = described["components"]["schemas"]["churn.Row"]
    assert row["required"] == [column.name for column in CONTRACT.features]
    assert row["additionalProperties"] is False
    age = row["properties"]["age"]
    assert (age["type"], age["minimum"], age["maximum"]) == (["integer"], 0, 120)
    assert "Unit: years. Seen in training: 18 to 95" in age["description"]
    assert row["properties"]["job"]["enum"] == ["clerk", "nurse", "smith"]
    number, missing = row["properties"]["balance"]["anyOf"]
    assert number == {"type": ["number", "null"]}
    assert re.match(missing["pattern"], " ? ")
    assert "enum" not in row["properties"]["town"], "other towns are taken as well"
    assert "churned" not in row["properties"]


def test_every_reference_of_the_document_leads_somewhere(served: Served) -> None:
    text = served.get("/openapi.json").text
    schemas = document(served)["components"]["schemas"]
    targets = set(re.findall(r'"\$ref":"([^"]+)"', text))
    assert targets
    assert {target.removeprefix("#/components/schemas/") for target in targets} <= set(schemas)


def test_the_examples_of_the_document_are_answered(served: Served) -> None:
    paths = document(served)["paths"]
    post = paths["/v1/models/churn/predict"]["post"]
    for example in post["requestBody"]["content"]["application/json"]["examples"].values():
        assert served.predict(example["value"]).status_code == 200
    post = paths["/v1/models/churn/labels"]["post"]
    for example in post["requestBody"]["content"]["application/json"]["examples"].values():
        assert served.label(example["value"]).status_code == 200


def test_the_document_follows_the_champion(served: Served) -> None:
    assert "version 1" in served.get("/openapi.json").text
    deploy(served.state, 2)
    served.wait_until(lambda: served.model("churn").current().version == 2)
    assert "version 2" in served.get("/openapi.json").text


@pytest.mark.parametrize(
    ("column", "example"),
    [
        (Column(name="x", type=ColumnType.NUMBER), 0.0),
        (Column(name="x", type=ColumnType.NUMBER, seen=(1, 2)), 1.5),
        (Column(name="x", type=ColumnType.INTEGER, seen=(1, 2)), 1),
        (Column(name="x", type=ColumnType.INTEGER, seen=(1, 2), limits=(1.4, None)), 2),
        (Column(name="x", type=ColumnType.NUMBER, limits=(3, None)), 3),
        (Column(name="x", type=ColumnType.NUMBER, limits=(None, -3)), -3),
        (Column(name="x", type=ColumnType.DATETIME, format="%d.%m.%Y"), "31.01.2026"),
    ],
)
def test_an_example_fits_its_column(column: Column, example: object) -> None:
    assert example_value(column) == example
    Codec(column).number(example_value(column))


def test_the_example_row_fits_the_contract() -> None:
    example = example_row(CONTRACT)
    assert small_bundle().encoder.encode_rows([example]).shape == (1, N_FEATURES)
    assert row_schema(CONTRACT)["example"] == example


def test_the_page_of_the_api_asks_nothing_of_other_hosts(served: Served) -> None:
    page = served.get("/docs")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(links) == 4
    for link in links:
        assert link.startswith("/docs/")
        assert served.get(link).status_code == 200
    assert "http" not in page.text + served.get("/docs/page.js").text


def test_every_answer_has_the_headers_that_keep_browsers_safe(served: Served) -> None:
    for answer in (served.predict(), served.get("/healthz"), served.get("/docs"), served.get("/")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "content-security-policy" in answer.headers
        assert "access-control-allow-origin" not in answer.headers
