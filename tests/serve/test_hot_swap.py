"""New champions: picked up between two requests, refused if they are not what they should be."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from tests.serve.conftest import ROW, Served, deploy, small_bundle

from gyroscope.bundle.deployment import Deployed, Deployment
from gyroscope.bundle.keys import Keys, keys_folder
from gyroscope.serve.app import create_app
from gyroscope.serve.champions import ModelTable


def version_of(served: Served, model: str = "churn") -> int | None:
    models = served.get("/v1/models").json()["models"]
    return next((m["version"] for m in models if m["model"] == model), None)


def score_of(version: int) -> float:
    bundle = small_bundle(version)
    return float(bundle.probabilities(bundle.encoder.encode_rows([ROW]))[0])


def test_a_new_champion_serves_without_a_restart(served: Served) -> None:
    assert served.predict().json()["probability"] == score_of(1)
    deploy(served.state, 2)
    served.wait_until(lambda: served.model("churn").current().version == 2)
    answer = served.predict().json()
    assert (answer["version"], answer["probability"]) == (2, score_of(2))
    assert served.get("/v1/models/churn").json()["previous_version"] == 1


def test_a_model_deployed_later_is_served(tmp_path: Path) -> None:
    with Served(create_app(tmp_path)) as server:
        assert server.predict().status_code == 404
        deploy(tmp_path, 1)
        server.wait_until(lambda: server.serves("churn"))
        assert server.predict().status_code == 200


def test_models_that_were_not_named_are_not_served(state: Path) -> None:
    deploy(state, 1, model="fraud")
    with Served(create_app(state, ["fraud"])) as server:
        assert [m["model"] for m in server.get("/v1/models").json()["models"]] == ["fraud"]


def test_a_damaged_bundle_is_refused_once_and_the_old_champion_goes_on(
    state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = ModelTable(state, None)
    table.refresh()
    folder = deploy(state, 2)
    arrays = folder / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"\0")
    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            table.refresh()
    model = table["churn"]
    assert model.current().version == 1
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "was altered" in model.refused


def test_a_refused_champion_is_a_warning_of_readiness_not_its_end(state: Path) -> None:
    folder = deploy(state, 2)
    (folder / "contract.json").unlink()
    deploy(state, 1)
    with Served(create_app(state)) as server:
        Deployment(state / "serving" / "churn").write(
            Deployed(model="churn", version=2, bundle=str(folder)), None
        )
        server.wait_until(lambda: server.model("churn").refused != "")
        ready = server.get("/readyz")
        assert ready.status_code == 200
        [warning] = ready.json()["warnings"]
        assert "version 1 goes on serving, a newer one was refused" in warning
        assert server.predict().json()["version"] == 1


def test_the_bundle_of_another_model_is_refused(state: Path) -> None:
    table = ModelTable(state, None)
    table.refresh()
    other = deploy(state, 1, model="fraud")
    Deployment(state / "serving" / "churn").write(
        Deployed(model="churn", version=2, bundle=str(other)), None
    )
    table.refresh()
    assert table["churn"].current().version == 1
    assert "is of model fraud, not churn" in table["churn"].refused


def test_a_repaired_bundle_is_accepted_when_it_is_looked_at_again(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gyroscope.serve.champions._RETRY_S", 0.0)
    folder = deploy(state, 2)
    hidden = folder.rename(folder.with_name("hidden"))
    table = ModelTable(state, None)
    table.refresh()
    assert table["churn"].champion is None
    hidden.rename(folder)
    table.refresh()
    assert table["churn"].current().version == 2
    assert table["churn"].refused == ""


def test_a_bundle_that_is_unsigned_or_of_an_unknown_key_never_serves_until_its_key_is_trusted(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gyroscope.serve.champions._RETRY_S", 0)
    table = ModelTable(state, None)
    table.refresh()
    others = Keys(tmp_path / "others")
    folder = state / "bundles" / "churn-2"
    small_bundle(2).save(folder)
    deploy(state, 2)
    table.refresh()
    assert "is unsigned" in table["churn"].refused
    shutil.rmtree(folder)
    small_bundle(2).save(folder, signer=others.signer())
    table.refresh()
    assert "is signed by an unknown key" in table["churn"].refused
    assert table["churn"].current().version == 1
    Keys(keys_folder(state)).add("others", str(others.public))
    table.refresh()
    assert table["churn"].current().version == 2
    assert table["churn"].refused == ""


def test_a_rollback_needs_nothing_from_the_disk(state: Path) -> None:
    table = ModelTable(state, None)
    table.refresh()
    folder = deploy(state, 2)
    table.refresh()
    shutil.rmtree(state / "bundles" / "churn-1")
    Deployment(state / "serving" / "churn").write(
        Deployed(model="churn", version=1, bundle=str(folder.with_name("churn-1"))),
        Deployed(model="churn", version=2, bundle=str(folder)),
    )
    table.refresh()
    model = table["churn"]
    assert model.current().version == 1
    assert model.previous is not None
    assert model.previous.version == 2


def test_a_damaged_deployment_file_leaves_the_champion_in_place(state: Path) -> None:
    table = ModelTable(state, None)
    table.refresh()
    path = Deployment(state / "serving" / "churn").path
    good = path.read_bytes()
    path.write_bytes(b"{")
    table.refresh()
    assert table["churn"].current().version == 1
    assert "damaged" in table["churn"].refused
    path.write_bytes(good)
    table.refresh()
    assert table["churn"].refused == ""


def test_one_request_is_answered_by_one_version_while_champions_change(served: Served) -> None:
    scores = {version: score_of(version) for version in range(1, 6)}
    body = json.dumps({"rows": [ROW] * 300}).encode()  # so many that a thread scores them
    for version in range(2, 6):
        deploy(served.state, version)
        seen = 0
        while seen != version:
            answer = served.predict(body).json()
            seen = answer["version"]
            assert {p["probability"] for p in answer["predictions"]} == {scores[seen]}
