"""Training in the loop: the first version from the user's data, later ones also from the log."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.estimator import ALLOW_LIST
from gyroscope.config import Config, ModelConfig, Settings, metric_of
from gyroscope.data.checks import check_table
from gyroscope.data.contract import Contract, contract_from_mapping
from gyroscope.data.contract import Task as TargetTask
from gyroscope.data.sources import read_table
from gyroscope.data.training_set import (
    TrainingSet,
    concatenate,
    load_snapshot,
    load_training_set,
)
from gyroscope.errors import DataError
from gyroscope.findings import Finding, Window
from gyroscope.loop.clock import EARLIEST
from gyroscope.loop.logged import labelled_rows
from gyroscope.loop.world import World
from gyroscope.train.families.base import families_to_try
from gyroscope.train.families.own_estimator import OwnEstimator
from gyroscope.train.pipeline import Evaluated, Pipeline, Progress, Task, Trained
from gyroscope.validate.base import Evaluation
from gyroscope.validate.gates import default_gates, run_gates

BASE_SNAPSHOT = "base_snapshot"  # tag: digest of the user's own training data
_FEWEST_DECIDING = 1000  # rows that the choice between challengers should rest on


def contract_of(config: ModelConfig) -> Contract:
    """The contract of a model as ``gyroscope.yaml`` has it; raises ContractError."""
    return contract_from_mapping(config.contract, where=f"models.{config.name}.contract")


def train_first(world: World, model: str, progress: Progress) -> Trained:
    """Train on the data that ``gyroscope.yaml`` names and register a version.

    Raises:
        ConfigError, MissingExtraError: training cannot be done as the settings say.
        DataError: the data cannot be read or trained on.
        ContractError: the contract is wrong.
    """
    config = world.config.model(model)
    contract = contract_of(config)
    own = own_estimator(world.config, model)
    _check_settings(config.settings, contract.task, own)
    progress("validate data", f"reading {config.data.name}")
    table = read_table(config.data)
    checks = check_table(table, contract)
    loaded = load_training_set(table, contract)
    task = Task(
        model=model,
        purpose="train",
        contract=contract,
        settings=config.settings,
        rows=loaded.rows,
        own=own,
        checks=checks,
        tags={BASE_SNAPSHOT: loaded.rows.digest, "purpose": "train"},
    )
    return make_pipeline(world, progress).run(task)


class Retraining(msgspec.Struct, frozen=True, kw_only=True):
    """What a retraining job is told."""

    champion: int  # version
    now: datetime  # in the clock of the loop, UTC
    change_point: datetime | None = None  # where the change began, if something changed


class Retrained(msgspec.Struct, frozen=True, kw_only=True):
    """What a retraining job brings back."""

    version: int
    trial_from: datetime  # rows from here on were used for nothing
    passed: bool  # the gates
    family: str
    span: str
    gates: tuple[Finding, ...] = ()


def retrain(world: World, model: str, order: Retraining, progress: Progress) -> Retrained:
    """Train challengers on the user's data and the labelled rows of the log.

    Quarantined windows are left out, and rows dated later than now. The newest rows since the
    change decide between challengers.

    Raises:
        ConfigError, MissingExtraError: training cannot be done as the settings say.
        DataError: too few labelled rows.
    """
    champion = world.bundle(model, order.champion)
    own = own_estimator(world.config, model)
    _check_settings(world.config.model(model).settings, champion.contract.task, own)
    snapshot = _base_snapshot(world, model, order.champion)
    base = load_snapshot(snapshot, world.snapshots)
    logged = _from_log(world, model, champion.contract, Window(EARLIEST, order.now))
    if not len(logged):
        raise DataError("no labelled prediction to retrain on")
    rows = concatenate([_before(base, logged), logged])
    since = _deciding_from(world.config.model(model), logged, order)
    task = Task(
        model=model,
        purpose="retrain",
        contract=champion.contract,
        settings=world.config.model(model).settings,
        rows=rows,
        spans=_spans(world.config.model(model), rows, since, order),
        since=since,
        champion=champion,
        own=own,
        tags={BASE_SNAPSHOT: snapshot, "purpose": "retrain"},
    )
    trained = make_pipeline(world, progress).run(task)
    until = trained.evaluated.bundle.manifest.trained_until
    assert until is not None  # logged rows always have a time
    return Retrained(
        version=trained.version.version,
        trial_from=datetime.fromisoformat(until) + timedelta(microseconds=1),
        passed=trained.passed,
        family=trained.evaluated.candidate.family,
        span=trained.evaluated.candidate.span,
        gates=trained.gates,
    )


def _check_settings(settings: Settings, task: TargetTask, own: OwnEstimator | None) -> None:
    """Raise what training would raise of its settings, before minutes go into reading and fitting.

    Raises:
        ConfigError: a setting is not for the task.
        MissingExtraError: a library is not installed.
        BundleError: the user's own estimator cannot be loaded.
    """
    families_to_try(settings, task)
    metric_of(settings, task)
    if own is not None:
        own.given(task)


def own_estimator(config: Config, model: str) -> OwnEstimator | None:
    """The family of the estimator that the setting of a model names, if it does."""
    file = config.model(model).settings["estimator"]
    if not file:
        return None
    return OwnEstimator(config.root / file, config.settings[ALLOW_LIST])


def make_pipeline(world: World, progress: Progress) -> Pipeline:
    """The pipeline with the default gates."""
    return Pipeline(
        tracker=world.tracker,
        registry=world.registry,
        snapshots=world.snapshots,
        gates=_gate_findings,
        progress=progress,
    )


def _gate_findings(evaluated: Evaluated) -> Sequence[Finding]:
    task = evaluated.bundle.contract.task
    evaluation = Evaluation(
        y=evaluated.rows.y,
        p=evaluated.p,
        p_base_rate=np.broadcast_to(evaluated.base, evaluated.p.shape),
        threshold=evaluated.bundle.manifest.threshold,
        metrics=evaluated.metrics,
        task=task,
    )
    return run_gates(evaluation, default_gates(task))


def _base_snapshot(world: World, model: str, version: int) -> str:
    """Digest of the data that the user gave for a version, or for those it descends from."""
    tags = world.registry.version(model, version).tags
    if BASE_SNAPSHOT not in tags:
        raise DataError(
            f"version {version} of {model} does not say what it was trained on (tag "
            f"{BASE_SNAPSHOT}), so nothing can be added to that; train one with: gyro train {model}"
        )
    return tags[BASE_SNAPSHOT]


def _from_log(world: World, model: str, contract: Contract, span: Window) -> TrainingSet:
    """The labelled rows of a span that fit the contract and are not in quarantine."""
    rows = labelled_rows(world.log(model), contract, span)
    keep = rows.labelled & rows.fits
    for quarantine in world.store.quarantines(model):
        keep &= ~inside(rows.time, quarantine.window)
    entities = {entity: code for code, entity in enumerate(sorted(set(filter(None, rows.entity))))}
    return TrainingSet(
        X=rows.X,
        y=rows.y,
        weight=np.ones(len(rows.y)),
        time=rows.time,
        group=np.array([entities.get(e or "", -1) for e in rows.entity], dtype=np.int64),
    ).take(keep)


def inside(time: NDArray[np.float64], window: Window) -> NDArray[np.bool_]:
    """Which times (seconds since 1970) lie in the window."""
    return (time >= window.start.timestamp()) & (time < window.end.timestamp())


def _before(base: TrainingSet, logged: TrainingSet) -> TrainingSet:
    """The user's own rows; those without a time are placed just before the log begins."""
    time = np.where(np.isnan(base.time), logged.time.min() - 1, base.time)
    return msgspec.structs.replace(base, time=time)


def _deciding_from(config: ModelConfig, logged: TrainingSet, order: Retraining) -> float:
    """From when on (seconds) rows decide: the change, or the recent span, but enough rows."""
    recent = timedelta(days=min(config.settings["recent_windows"]))
    since = (order.change_point or order.now - recent).timestamp()
    newest = np.sort(logged.time)[-min(len(logged), _FEWEST_DECIDING) :]
    return float(min(since, newest[0]))


def _spans(
    config: ModelConfig, rows: TrainingSet, since: float, order: Retraining
) -> dict[str, NDArray[np.bool_]]:
    """Which rows challengers are trained on: all, the last weeks, those since the change."""
    spans: dict[str, Any] = {"all rows": np.ones(len(rows), dtype=bool)}
    for days in sorted(config.settings["recent_windows"]):
        mask = rows.time >= (order.now - timedelta(days=days)).timestamp()
        if not mask.all():
            spans[f"the last {days} days"] = mask
    if order.change_point is not None:
        moment = datetime.fromtimestamp(since, UTC)
        spans[f"rows since {moment:%Y-%m-%d %H:%M}"] = rows.time >= since
    return spans
