"""The whole loop for targets of several classes and of numbers: train, serve, watch, retrain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
import yaml
from numpy.typing import NDArray
from pyarrow import csv

from gyroscope.app import Workspace
from gyroscope.config import FILE
from gyroscope.data.contract import Task
from gyroscope.data.infer import infer_contract
from gyroscope.decisions import Action
from gyroscope.findings import Finding, Kind, Verdict
from gyroscope.loop.manual import promote
from gyroscope.loop.training import train_first
from gyroscope.loop.verification import Replayed, replay_scores
from gyroscope.loop.world import World
from gyroscope.model import Label, Prediction
from gyroscope.promote.promotion import champion_of
from gyroscope.testing.small_workspace import MODEL, SETTINGS, fly, inline_world

DAY_0 = datetime(2026, 3, 1, tzinfo=UTC)
ROWS = 80  # a day
CLASSES = ("ash", "elm", "oak", "yew")
TASKS: tuple[Task, ...] = ("multiclass", "regression")


def day(task: Task, number: int, *, changed: bool = False, moved: float = 0.0) -> pa.Table:
    """The rows of a day with what became of them; ``changed`` is another world, ``moved`` other
    rows of the same."""
    random = np.random.default_rng([(*TASKS, "binary").index(task), number + 100])
    x, z = moved + random.normal(size=ROWS), random.uniform(0, 10, ROWS)
    region = random.choice(["north", "south"], ROWS)
    effect = x + 0.3 * (z - 5) * np.where(region == "north", 1, -1) * (-1 if changed else 1)
    seconds = np.sort(random.uniform(0, 86400, ROWS))
    times = [DAY_0 + timedelta(days=number, seconds=float(s)) for s in seconds]
    return pa.table(
        {
            "at": pa.array(times, pa.timestamp("us", "UTC")),
            "x": x,
            "z": z,
            "region": region,
            "outcome": outcome(task, effect, random),
        }
    )


def outcome(task: Task, effect: NDArray[np.float64], random: np.random.Generator) -> Any:
    if task == "regression":
        return 1000 + 50 * effect + 20 * random.normal(size=len(effect))
    if task == "binary":
        return (effect + 0.5 * random.normal(size=len(effect)) > 0).astype(int)
    margins = np.column_stack([effect, -effect, 0.5 * effect**2 - 1, np.zeros(len(effect))])
    return np.array(CLASSES)[(2 * margins + random.gumbel(size=margins.shape)).argmax(axis=1)]


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> Task:
    made: Task = request.param
    return made


@pytest.fixture
def world(task: Task, tmp_path: Path) -> Iterator[World]:
    space = trained(task, tmp_path)
    yield inline_world(space)
    space.close()


def trained(task: Task, folder: Path) -> Workspace:
    """A workspace whose model is trained on forty days before day 0 and is the champion."""
    table = pa.concat_tables([day(task, number) for number in range(-40, 0)])
    csv.write_csv(table, folder / "data.csv")
    contract = infer_contract(table, target="outcome", time="at").contract
    assert contract.task == task
    given = msgspec.to_builtins(contract)
    given["columns"] = {column.pop("name"): column for column in given["columns"]}
    settings = {**SETTINGS, "retrain_rows": 300, "min_rows": 20, "window": "12h"}
    settings["candidates"] = ["base_rate", "lightgbm"]
    model = {"data": "data.csv", "contract": given, "settings": settings}
    document = {"workspace": {"clock": "log"}, "models": {MODEL: model}}
    (folder / FILE).write_text(yaml.safe_dump(document), encoding="utf-8")
    space = Workspace(folder)
    train_and_promote(inline_world(space))
    return space


def train_and_promote(world: World) -> None:
    made = train_first(world, MODEL, lambda step, detail: None)
    assert made.passed
    promote(world, MODEL, made.version.version, actor="test", reason="by hand")


def serve_days(world: World, task: Task, first: int, last: int, **of_day: Any) -> None:
    """Put days into the log as the champion would have, with their labels a moment later."""
    version = champion_of(world.registry, MODEL)
    assert version is not None
    bundle, log = world.bundle(MODEL, version), world.log(MODEL)
    encoder = bundle.encoder
    for number in range(first, last):
        table = day(task, number, **of_day)
        rows = [{**row, "at": row["at"].isoformat()} for row in table.drop(["outcome"]).to_pylist()]
        times = table.column("at").to_pylist()
        scores = bundle.scores(encoder.encode_rows(rows)).tolist()
        predictions = [
            Prediction(
                id=f"{number}-{i}",
                version=version,
                time=times[i],
                arrival=times[i],
                columns=encoder.logged_columns,
                row=encoder.logged(rows[i]),
                score=tuple(scores[i]) if bundle.contract.classes else scores[i],
            )
            for i in range(len(rows))
        ]
        labels = [
            Label(prediction_id=p.id, label=label, time=p.time, arrival=p.time)
            for p, label in zip(predictions, table.column("outcome").to_pylist(), strict=True)
        ]
        log.append(predictions)
        log.append_labels(labels)


def findings(world: World, kind: Kind) -> list[Finding]:
    return [f for f in world.store.findings(MODEL, limit=100_000) if f.kind is kind]


@pytest.mark.slow
def test_nothing_is_alarmed_at_while_the_world_is_as_it_was(world: World, task: Task) -> None:
    serve_days(world, task, 0, 8)
    fly(world)
    done = [r.decision.action for r in world.store.decisions(MODEL)]
    assert set(done) <= {Action.PROMOTE, Action.NOTICE}
    assert replay_scores(world, MODEL) == Replayed(rows=8 * ROWS, different=0)
    checks = {f.check for f in findings(world, Kind.PERFORMANCE)}
    assert (
        checks
        >= {
            "multiclass": {"accuracy", "roc_auc", "log_loss", "excess_loss", "detector"},
            "regression": {"rmse", "mae", "r2", "excess_loss", "detector"},
        }[task]
    )
    subjects = {f.subject for f in findings(world, Kind.SCORE_DRIFT)}
    assert subjects == (
        {f"score of {name}" for name in CLASSES} if task == "multiclass" else {"score"}
    )
    assert any(f.subject == "label" for f in findings(world, Kind.LABEL_DRIFT))
    expected = {f.check for f in findings(world, Kind.ESTIMATED_PERFORMANCE)}
    assert (
        expected
        >= {
            "multiclass": {"accuracy", "roc_auc", "log_loss", "brier"},
            "regression": {"rmse", "mae"},
        }[task]
    )


@pytest.mark.slow
def test_what_drifts_is_priced_and_associations_are_watched(world: World, task: Task) -> None:
    serve_days(world, task, 0, 4, moved=1.5)
    fly(world)
    drift = [f for f in findings(world, Kind.COLUMN_DRIFT) if f.subject == "x"]
    dear = [f for f in drift if f.verdict in (Verdict.WARNING, Verdict.NOTICE)]
    assert dear
    metric = {"multiclass": "log-loss", "regression": "rmse"}[task]
    assert all(f"Its price: {metric}" in f.detail for f in dear if f.cost is not None)
    assert any(f.cost is not None for f in dear)
    checks = {f.check for f in findings(world, Kind.ASSOCIATION_DRIFT)}
    assert checks >= {"mutual_information"} | ({"correlation"} if task == "regression" else set())


@pytest.mark.slow
def test_lost_performance_is_alarmed_at_and_a_better_version_takes_over(
    world: World, task: Task
) -> None:
    serve_days(world, task, 0, 4)
    fly(world)
    serve_days(world, task, 4, 14, changed=True)
    fly(world)
    done = [r.decision.action for r in world.store.decisions(MODEL)]
    assert [action for action in done if action is not Action.NOTICE] == [
        *(Action.PROMOTE, Action.ALARM, Action.RETRAIN, Action.START_TRIAL, Action.PROMOTE)
    ]
    alarm = next(f for f in findings(world, Kind.PERFORMANCE) if f.verdict is Verdict.ALARM)
    said = {"multiclass": "no longer right as often", "regression": "large errors are more"}
    assert said[task] in alarm.detail
    assert champion_of(world.registry, MODEL) == 2
    assert replay_scores(world, MODEL) == Replayed(rows=14 * ROWS, different=0)
    (trial, *_) = findings(world, Kind.TRIAL)
    assert trial.check == "paired_log_loss"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "then"),
    [
        ("binary", {"task": "regression"}),
        ("multiclass", {"positive": ["ash"], "negative": ["elm", "oak", "yew"]}),
        ("multiclass", {"task": "multiclass", "classes": ["ash", "elm", "oak"]}),
    ],
)
def test_probation_after_a_version_that_predicts_something_else_just_ends(
    task: Task, then: dict[str, Any], tmp_path: Path
) -> None:
    with closing(trained(task, tmp_path)) as space:
        world = inline_world(space)
        serve_days(world, task, 0, 3)
        fly(world)
    document = yaml.safe_load((tmp_path / FILE).read_text())
    contract = document["models"][MODEL]["contract"]
    for name in ("task", "positive", "negative", "classes"):
        contract.pop(name, None)
    contract |= then
    if "classes" in then:
        contract["columns"]["outcome"] |= {"nullable": True, "missing": ["yew"]}
    (tmp_path / FILE).write_text(yaml.safe_dump(document), encoding="utf-8")
    with closing(Workspace(tmp_path)) as space:
        world = inline_world(space)
        train_and_promote(world)
        fly(world)
        care = world.store.care(MODEL)
        assert care.probation is not None
        assert (care.probation.incumbent, care.probation.candidate) in ((1, 2), (2, 1))
        serve_days(world, task, 3, 20)
        fly(world)
        assert champion_of(world.registry, MODEL) == 2
        care = world.store.care(MODEL)
        assert care.probation is None
        done = [r.decision.action for r in world.store.decisions(MODEL)]
        assert done.count(Action.PROMOTE) == 2
        assert Action.ROLL_BACK not in done
        assert {f.verdict for f in findings(world, Kind.PROBATION)} <= {Verdict.NOT_ENOUGH_DATA}
