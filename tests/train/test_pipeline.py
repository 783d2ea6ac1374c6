from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gyroscope.bundle.bundle import Bundle, read_bundle
from gyroscope.bundle.environment import build_environment
from gyroscope.config import MODEL_SETTINGS, Settings
from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.training_set import TrainingSet, load_snapshot, load_training_set
from gyroscope.errors import DataError
from gyroscope.findings import Finding, Kind, Verdict
from gyroscope.registry.registry import Registry
from gyroscope.registry.tracking import Tracker
from gyroscope.testing.worlds import (
    CALM,
    CHANGE_DAY,
    CONCEPT_DRIFT,
    CONTRACT,
    DAY_0,
    World,
    tiny_bundle,
    to_table,
)
from gyroscope.train.candidates import RECALIBRATION
from gyroscope.train.pipeline import STEPS, Evaluated, Pipeline, Task, Trained, importance

DAY = timedelta(days=1)
FAST = ["base_rate", "logistic_regression", "lightgbm"]


def settings(**given: Any) -> Settings:
    return Settings(MODEL_SETTINGS, {"candidates": FAST, **given}, "test")


def rows_of(world: World, first: int, last: int) -> TrainingSet:
    return load_training_set(to_table(world.events(first, last)), CONTRACT).rows


def gate(evaluated: Evaluated) -> Sequence[Finding]:
    """One gate: the AUC is above 0.6."""
    auc = evaluated.metrics["roc_auc"].value
    verdict = Verdict.OK if auc > 0.6 else Verdict.ALARM
    detail = f"AUC {auc:.3f}"
    return [Finding(kind=Kind.GATE, check="auc", subject="version", verdict=verdict, detail=detail)]


class Heard:
    """Remembers what the pipeline said on its way."""

    def __init__(self) -> None:
        self.steps: list[str] = []

    def __call__(self, step: str, detail: str) -> None:
        if not self.steps or self.steps[-1] != step:
            self.steps.append(step)


MakePipeline = Callable[..., Pipeline]


@pytest.fixture(scope="session")
def make_pipeline(tracker: Tracker, registry: Registry, workspace: Path) -> MakePipeline:
    def made(**parts: Any) -> Pipeline:
        given = {"tracker": tracker, "registry": registry, "snapshots": workspace / "snapshots"}
        return Pipeline(**{**given, "gates": gate, **parts})

    return made


class First:
    """A first training in the calm world, and what was said on its way."""

    def __init__(self, make_pipeline: MakePipeline) -> None:
        self.heard = Heard()
        self.rows = rows_of(CALM, 0, 10)
        self.task = Task(
            model="churn",
            purpose="train",
            contract=CONTRACT,
            settings=settings(),
            rows=self.rows,
            tags={"purpose": "train"},
        )
        self.trained: Trained = make_pipeline(progress=self.heard).run(self.task)


@pytest.fixture(scope="session")
def first(make_pipeline: MakePipeline) -> First:
    return First(make_pipeline)


class Runs:
    """The runs of an experiment by name."""

    def __init__(self, client: Any, model: str) -> None:
        self._client = client
        experiment = client.get_experiment_by_name(model)
        self._all = client.search_runs([experiment.experiment_id])

    def children(self, run: Any) -> dict[str, Any]:
        mine = [r for r in self._all if r.data.tags.get("mlflow.parentRunId") == run.info.run_id]
        return {r.info.run_name: r for r in sorted(mine, key=lambda r: r.info.start_time)}

    @property
    def parents(self) -> list[Any]:
        return [run for run in self._all if "mlflow.parentRunId" not in run.data.tags]

    def artefacts(self, run: Any, folder: str | None = None) -> list[str]:
        return [entry.path for entry in self._client.list_artifacts(run.info.run_id, folder)]

    def json(self, run: Any, path: str) -> Any:
        return json.loads(Path(self._client.download_artifacts(run.info.run_id, path)).read_text())


@pytest.fixture
def runs(first: First, client: Any) -> Runs:
    return Runs(client, "churn")


# -- runs -----------------------------------------------------------------------------------------


def test_every_step_is_a_nested_run_and_every_candidate_one_below(runs: Runs, first: First) -> None:
    [parent] = runs.parents
    assert parent.info.run_name == "train"
    assert parent.info.status == "FINISHED"
    steps = runs.children(parent)
    assert set(steps) == set(STEPS)
    assert all(step.info.status == "FINISHED" for step in steps.values())
    assert set(runs.children(steps["candidates"])) == {f"{name} on all rows" for name in FAST}
    assert first.heard.steps == list(STEPS)


def test_runs_keep_what_they_found(runs: Runs, first: First) -> None:
    [parent] = runs.parents
    steps = runs.children(parent)
    assert parent.data.params["metric"] == "log_loss"
    assert parent.data.params["tag.purpose"] == "train"
    assert parent.data.metrics["roc_auc"] == steps["evaluate"].data.metrics["roc_auc"]
    assert parent.data.metrics["roc_auc.low"] < parent.data.metrics["roc_auc"]
    assert steps["validate data"].data.metrics["rows"] == len(first.rows)
    assert steps["split"].data.params["how"] == "by time"
    assert steps["split"].data.metrics["train_rows"] == 1400
    assert "threshold" in steps["calibrate"].data.metrics
    candidate = runs.children(steps["candidates"])["lightgbm on all rows"]
    assert candidate.data.metrics["fidelity"] <= 1e-6
    assert candidate.data.params["span"] == "all rows"


def test_contract_snapshot_plots_and_gates_are_kept_with_the_runs(runs: Runs, first: First) -> None:
    [parent] = runs.parents
    steps = runs.children(parent)
    assert msgspec.convert(runs.json(parent, "contract.json"), Contract) == CONTRACT
    snapshot = runs.json(steps["snapshot"], "snapshot.json")
    assert snapshot["digest"] == first.rows.digest
    assert snapshot["from"] < snapshot["until"]
    assert len(runs.artefacts(steps["evaluate"], "plots")) == 5
    [kept] = runs.json(steps["register"], "gates.json")
    assert kept["check"] == "auc"
    assert "model" in runs.artefacts(parent)


# -- the version ----------------------------------------------------------------------------------


def test_the_version_is_registered_with_the_bundle_that_was_evaluated(
    first: First, registry: Registry
) -> None:
    trained = first.trained
    assert registry.versions("churn") == [trained.version]
    assert trained.version.tags["family"] == trained.evaluated.candidate.family
    assert trained.version.tags["snapshot"] == first.rows.digest
    bundle = Bundle.load(registry.bundle_folder("churn", 1))
    X = trained.evaluated.rows.X
    assert bundle.probabilities(X).tobytes() == trained.evaluated.p.tobytes()
    assert bundle.manifest.metrics == trained.evaluated.bundle.manifest.metrics
    assert bundle.manifest.environment == build_environment()
    assert trained.passed


def test_the_snapshot_can_be_trained_on_again(first: First, workspace: Path) -> None:
    digest = first.trained.evaluated.bundle.manifest.snapshot
    again = load_snapshot(digest, workspace / "snapshots")
    assert again.X.tobytes() == first.rows.X.tobytes()


def test_the_model_is_about_as_good_as_the_truth(first: First) -> None:
    evaluated = first.trained.evaluated
    truth = tiny_bundle().probabilities(evaluated.rows.X)
    assert evaluated.candidate.family == "logistic_regression"  # the world is linear
    assert np.abs(evaluated.p - truth).mean() < 0.05


def test_the_test_rows_are_the_newest_and_nothing_was_chosen_on_them(first: First) -> None:
    evaluated, manifest = first.trained.evaluated, first.trained.evaluated.bundle.manifest
    assert manifest.trained_until is not None
    assert manifest.trained_from is not None
    until = datetime.fromisoformat(manifest.trained_until).timestamp()
    assert evaluated.rows.time.min() > until
    assert (first.rows.time > until).sum() == len(evaluated.rows) == 300
    assert datetime.fromisoformat(manifest.trained_from).timestamp() == first.rows.time.min()


def test_the_best_candidate_on_the_validation_rows_was_chosen(first: First) -> None:
    losses = {c.family: c.metrics["log_loss"] for c in first.trained.candidates}
    assert set(losses) == set(FAST)
    assert first.trained.evaluated.candidate.family == min(losses, key=lambda name: losses[name])


def test_training_again_gives_the_same_bundle(make_pipeline: MakePipeline, first: First) -> None:
    task = msgspec.structs.replace(first.task, model="churn-again")
    again = make_pipeline().run(task).evaluated
    assert again.p.tobytes() == first.trained.evaluated.p.tobytes()
    manifest = msgspec.structs.replace(again.bundle.manifest, model="churn")
    assert manifest == first.trained.evaluated.bundle.manifest


def test_training_again_gives_the_same_bytes_but_for_the_signature_that_names_the_run(
    make_pipeline: MakePipeline, first: First, registry: Registry
) -> None:
    task = msgspec.structs.replace(first.task, model="churn-twice")
    runs = {make_pipeline().run(task).version.run_id for _ in range(2)}
    one, two = (registry.bundle_folder("churn-twice", version) for version in (1, 2))
    signatures = [read_bundle(folder).signature for folder in (one, two)]
    assert {signature.run for signature in signatures if signature} == runs
    for name in {file.name for file in one.iterdir()} - {"manifest.sig"}:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


def test_importance_names_every_feature(first: First) -> None:
    found = importance(first.trained.evaluated.bundle, first.rows)
    assert list(found) == [column.name for column in CONTRACT.features]
    assert max(found, key=lambda name: found[name]) in ("balance", "active", "age", "plan")


# -- choices --------------------------------------------------------------------------------------


def task_of(rows: TrainingSet, model: str, **fields: Any) -> Task:
    given = {"purpose": "train", "contract": CONTRACT, "settings": settings()}
    return Task(model=model, rows=rows, **{**given, **fields})


def test_costs_set_the_threshold(make_pipeline: MakePipeline, model: str, first: First) -> None:
    given = settings(candidates=["base_rate"], cost_false_positive=1, cost_false_negative=4)
    trained = make_pipeline().run(task_of(first.rows, model, settings=given))
    assert trained.evaluated.bundle.threshold == 0.2


def test_a_gate_that_is_not_passed_is_on_record_and_the_version_too(
    make_pipeline: MakePipeline, model: str, first: First, registry: Registry
) -> None:
    trained = make_pipeline().run(
        task_of(first.rows, model, settings=settings(candidates=["base_rate"]))
    )
    assert not trained.passed
    assert registry.version(model, 1) == trained.version


def test_broken_data_stop_the_pipeline_before_anything_is_fitted(
    make_pipeline: MakePipeline, model: str, first: First, client: Any, registry: Registry
) -> None:
    broken = Finding(
        kind=Kind.DATA_QUALITY,
        check="leakage",
        subject="age",
        verdict=Verdict.ALARM,
        detail="age tells the target.",
    )
    with pytest.raises(DataError, match="the data cannot be trained on: age tells the target"):
        make_pipeline().run(task_of(first.rows, model, checks=[broken]))
    runs = Runs(client, model)
    [parent] = runs.parents
    assert parent.info.status == "FAILED"
    children = runs.children(parent)
    assert list(children) == ["validate data"]
    assert runs.json(children["validate data"], "findings.json")[0]["detail"] == broken.detail
    assert registry.versions(model) == []


def test_rows_without_times_are_split_by_entity(
    make_pipeline: MakePipeline, model: str, first: First, client: Any
) -> None:
    untimed = msgspec.structs.replace(first.rows, time=np.full(len(first.rows), np.nan))
    trained = make_pipeline().run(
        task_of(untimed, model, settings=settings(candidates=["logistic_regression"]))
    )
    manifest = trained.evaluated.bundle.manifest
    assert (manifest.trained_from, manifest.trained_until) == (None, None)
    assert trained.evaluated.bundle.reference.rows_per_day is None
    runs = Runs(client, model)
    assert runs.children(runs.parents[0])["split"].data.params["how"] == "by entity"


def test_columns_of_any_name_can_be_trained_on(make_pipeline: MakePipeline, model: str) -> None:
    names = ["年齢 😀", "$x^2$", "a/b: c", "x" * 120, "row"]
    columns = [Column(name=name, type=ColumnType.NUMBER) for name in names]
    target = Column(name="mlflow.note", type=ColumnType.BOOLEAN, role=Role.TARGET)
    contract = Contract(columns=(*columns, target), positive=("1",), negative=("0",))
    random = np.random.default_rng(0)
    X = random.normal(size=(400, len(names)))
    rows = TrainingSet(
        X=X,
        y=(X[:, 0] > 0).astype(np.float64),
        weight=np.ones(400),
        time=np.full(400, np.nan),
        group=np.full(400, -1),
    )
    given = settings(candidates=["logistic_regression"])
    trained = make_pipeline().run(task_of(rows, model, contract=contract, settings=given))
    assert trained.passed


# -- retraining -----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def drifted() -> TrainingSet:
    """Rows from before and after the change of the concept."""
    return rows_of(CONCEPT_DRIFT, CHANGE_DAY - 15, CHANGE_DAY + 15)


def retraining(rows: TrainingSet, model: str, **fields: Any) -> Task:
    """A retraining after the change, on all rows and on those since."""
    since = (DAY_0 + CHANGE_DAY * DAY).timestamp()
    spans = {
        "all rows": np.ones(len(rows), dtype=bool),
        "rows since the change": rows.time >= since,
        "too few": rows.time < rows.time.min() + 10,
    }
    given = settings(candidates=["logistic_regression"])
    return task_of(
        rows, model, purpose="retrain", settings=given, spans=spans, since=since, **fields
    )


def test_after_a_change_the_rows_since_then_make_the_best_challenger(
    make_pipeline: MakePipeline, model: str, drifted: TrainingSet
) -> None:
    trained = make_pipeline().run(retraining(drifted, model, champion=tiny_bundle()))
    assert [candidate.name for candidate in trained.candidates] == [
        "logistic_regression on all rows",
        "logistic_regression on rows since the change",
        f"{RECALIBRATION} on the champion",
    ]
    chosen = trained.evaluated.candidate
    assert chosen.span == "rows since the change"
    assert trained.version.tags["span"] == chosen.span
    manifest = trained.evaluated.bundle.manifest
    assert manifest.trained_from is not None
    assert datetime.fromisoformat(manifest.trained_from) >= DAY_0 + CHANGE_DAY * DAY
    since = (drifted.time >= (DAY_0 + CHANGE_DAY * DAY).timestamp()).sum()
    assert len(trained.evaluated.rows) == since // 4


def test_the_champion_recalibrated_is_a_candidate_with_the_same_scorer(
    make_pipeline: MakePipeline, model: str
) -> None:
    rows = rows_of(CALM, 0, 10)
    leaning = tiny_bundle()
    leaning = Bundle(
        manifest=leaning.manifest,
        contract=leaning.contract,
        scorer=leaning.scorer,
        link=msgspec.structs.replace(leaning.link, scale=0.3, shift=1.0),
        reference=leaning.reference,
    )
    task = msgspec.structs.replace(
        retraining(rows, model, champion=leaning),
        settings=settings(candidates=["base_rate"]),
        since=(DAY_0 + 5 * DAY).timestamp(),
        spans={},
    )
    trained = make_pipeline().run(task)
    chosen = trained.evaluated.candidate
    assert (chosen.family, chosen.rows) == (RECALIBRATION, 0)
    assert chosen.fitted.scorer is leaning.scorer
    assert chosen.calibration.method == "sigmoid"
    assert trained.evaluated.bundle.link.scale == pytest.approx(1, abs=0.3)
    assert trained.version.tags["family"] == RECALIBRATION
