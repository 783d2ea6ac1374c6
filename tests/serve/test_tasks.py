"""Models of several classes and of numbers over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.serve.conftest import CONTRACT, ROW, Served, deploy, small_bundle

from gyroscope.bundle.base import Scorer
from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.class_link import ClassLink
from gyroscope.bundle.class_scorers import ClassScorers
from gyroscope.bundle.links import Link
from gyroscope.data.contract import Column, ColumnType, Contract, Role, Task
from gyroscope.prediction_log import FileLog
from gyroscope.serve.app import create_app
from gyroscope.serve.http import ARROW

CLASSES = ("stays", "leaves", "2")
PARTS = [small_bundle(seed).scorer for seed in range(3)]
ALL = len(CONTRACT.features)


def contract(task: Task) -> Contract:
    kind = ColumnType.CATEGORY if task == "multiclass" else ColumnType.NUMBER
    target = Column(name="churned", type=kind, role=Role.TARGET, unit="EUR", description="Revenue")
    columns = (*(c for c in CONTRACT.columns if c.role is not Role.TARGET), target)
    return Contract(columns=columns, task=task, classes=CLASSES if task == "multiclass" else ())


def bundle(task: Task) -> Bundle:
    tiny = small_bundle()
    parts: list[Scorer] = [part for part in PARTS if not isinstance(part, ClassScorers)]
    link: Link | ClassLink = ClassLink(kind="softmax", scale=1.5, shifts=(0.1, 0.0, -0.2))
    if task == "regression":
        link = Link(kind="value", scale=100.0, shift=1000.0)
    return Bundle(
        manifest=msgspec.structs.replace(
            tiny.manifest, link=link.kind, threshold=None, model=task, metrics={}
        ),
        contract=contract(task),
        scorer=ClassScorers(parts) if task == "multiclass" else parts[0],
        link=link,
        reference=tiny.reference,
    )


@pytest.fixture
def tasks(tmp_path: Path) -> Iterator[Served]:
    """A server with a model of each task."""
    deploy(tmp_path, 1, model="multiclass", bundle=bundle("multiclass"))
    deploy(tmp_path, 1, model="regression", bundle=bundle("regression"))
    deploy(tmp_path, 1)
    with Served(create_app(tmp_path)) as server:
        yield server


def predict(server: Served, model: str, **body: Any) -> dict[str, Any]:
    answer = server.predict({"row": ROW, **body}, model=model)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def total(row: dict[str, Any], base: float) -> float:
    return base + float(sum(c["contribution"] for c in row["contributions"])) + float(row["rest"])


def test_several_classes_are_answered_with_the_most_probable_and_all_probabilities(
    tasks: Served,
) -> None:
    made, own = predict(tasks, "multiclass", explain="all"), bundle("multiclass")
    scores = own.scores(own.encoder.encode_rows([ROW]))[0].tolist()
    assert made["probabilities"] == dict(zip(CLASSES, scores, strict=True))
    assert made["label"] == made["explained"] == CLASSES[int(np.argmax(scores))]
    assert made["probability"] == max(scores)
    assert "threshold" not in made
    assert total(made, made["base"]) == pytest.approx(made["margin"])


@pytest.mark.parametrize("name", ["stays", "leaves", "LEAVES ", "2", "2.0"])
def test_any_class_can_be_explained_in_any_spelling(tasks: Served, name: str) -> None:
    made = predict(tasks, "multiclass", **{"class": name}, space="probability", sentence=True)
    explained = {"LEAVES ": "leaves", "2.0": "2"}.get(name, name)
    assert made["explained"] == explained
    assert total(made, made["base"]) == pytest.approx(made["probabilities"][explained])
    assert made["sentence"].startswith(f"Probability of revenue {explained}: ")


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("balance", [-9e4, 9e4])
def test_the_sentence_says_what_moved_the_probability_of_the_class(
    tasks: Served, name: str, balance: float
) -> None:
    row = {**ROW, "balance": balance}
    asked = {"row": row, "class": name, "sentence": True, "explain": 1}
    by_margin, by_probability = (
        tasks.predict({**asked, "space": space}, model="multiclass").json()
        for space in ("margin", "probability")
    )
    (largest,) = by_probability["contributions"]
    moved = "raised" if largest["contribution"] > 0 else "lowered"
    assert f"{moved} mostly by {largest['feature']}" in by_margin["sentence"]
    assert by_margin["sentence"] == by_probability["sentence"]


def test_rows_of_a_batch_are_explained_each_by_its_own_class(tasks: Served) -> None:
    rows = [{**ROW, "job": job, "balance": b} for job in ("clerk", "smith") for b in (-9e4, 9e4)]
    answer = tasks.predict({"rows": rows, "explain": 2}, model="multiclass").json()
    assert "base" not in answer
    assert len({row["label"] for row in answer["predictions"]}) > 1
    for row in answer["predictions"]:
        assert row["explained"] == row["label"]
        assert total(row, row["base"]) == pytest.approx(row["margin"])
    plain = tasks.predict({"rows": rows}, model="multiclass").json()["predictions"][0]
    assert not {"explained", "margin", "base"} & set(plain)


def test_a_number_is_answered_in_the_units_of_the_target(tasks: Served) -> None:
    made, own = predict(tasks, "regression", explain="all", sentence=True), bundle("regression")
    (value,) = own.scores(own.encoder.encode_rows([ROW])).tolist()
    assert made["value"] == made["margin"] == value
    assert total(made, made["base"]) == pytest.approx(value)
    assert not {"probability", "label", "threshold", "probabilities"} & set(made)
    assert made["sentence"].startswith("Predicted revenue: ")
    assert " EUR, against " in made["sentence"]
    details = tasks.get("/v1/models/regression").json()
    assert (details["task"], details["unit"], details["threshold"]) == ("regression", "EUR", None)


@pytest.mark.parametrize(
    ("model", "wish", "field", "expected"),
    [
        ("multiclass", {"class": "goes"}, "class", "one of stays, leaves, 2"),
        ("churn", {"class": "yes"}, "class", "nothing"),
        ("regression", {"class": "1"}, "class", "nothing"),
        ("regression", {"space": "probability"}, "space", '"margin": a number has no probability'),
        ("multiclass", {"class": 2}, "class", "a class of the target, as a text"),
        ("multiclass", {"class": None}, "class", "a class of the target, as a text"),
    ],
)
def test_what_a_task_does_not_have_is_refused(
    tasks: Served, model: str, wish: dict[str, Any], field: str, expected: str
) -> None:
    answer = tasks.predict({"row": ROW, **wish}, model=model)
    assert answer.status_code == 422
    (problem,) = answer.json()["error"]["problems"]
    assert (problem["field"], problem["expected"]) == (field, expected)


@pytest.mark.parametrize(
    ("model", "good", "bad"),
    [
        ("multiclass", ["leaves", "Stays", 2, "2.0"], ["goes", None, 1, True]),
        ("regression", [12.5, -3, "17.25", 0], ["many", None, True, "nan", "1e999", 1e308, -2e100]),
    ],
)
def test_labels_are_classes_or_numbers(
    tasks: Served, model: str, good: list[Any], bad: list[Any]
) -> None:
    made = predict(tasks, model)["prediction_id"]
    for label in good:
        answer = tasks.label({"prediction_id": made, "label": label}, model=model)
        assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    for label in bad:
        answer = tasks.label({"prediction_id": made, "label": label}, model=model)
        assert answer.status_code == 422, label


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("multiclass", {"probability", "label", "probabilities", "explained", "base"}),
        ("regression", {"value"}),
    ],
)
def test_a_table_is_answered_with_a_table(tasks: Served, model: str, names: set[str]) -> None:
    table = pa.table({name: [value] * 3 for name, value in ROW.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = tasks.post(
        f"/v1/models/{model}/predict-batch?explain=1",
        content=sink.getvalue().to_pybytes(),
        headers={"content-type": ARROW, "accept": ARROW},
    )
    made = pa.ipc.open_stream(answer.content).read_all()
    common = {"prediction_id", "time", "margin", "rest", "contributions"}
    assert set(made.column_names) == names | common
    one = predict(tasks, model)
    for name in ("probability", "label", "probabilities", "value"):
        if name in names:
            assert made.column(name).to_pylist() == [one[name]] * 3


@pytest.mark.parametrize("model", ["multiclass", "regression"])
def test_all_scores_are_on_record_bit_for_bit(tasks: Served, tmp_path: Path, model: str) -> None:
    made = predict(tasks, model)
    (logged,) = FileLog(tmp_path / "log" / model).read().predictions
    if model == "multiclass":
        assert logged.score == tuple(made["probabilities"].values())
    else:
        assert logged.score == made["value"]


def test_the_document_says_what_each_task_takes(tasks: Served) -> None:
    document = tasks.get("/openapi.json").json()

    def properties(model: str, route: str, place: int = 0) -> dict[str, Any]:
        body = document["paths"][f"/v1/models/{model}/{route}"]["post"]["requestBody"]
        schema = body["content"]["application/json"]["schema"]
        found: dict[str, Any] = schema["oneOf"][place]["properties"]
        return found

    assert properties("multiclass", "predict")["class"]["enum"] == list(CLASSES)
    assert "class" not in properties("churn", "predict")
    assert properties("regression", "explain")["space"]["enum"] == ["margin"]
    assert properties("multiclass", "labels")["label"] == {"enum": list(CLASSES)}
    amount = {"type": "number", "minimum": -1e100, "maximum": 1e100}
    assert properties("regression", "labels")["label"] == amount
