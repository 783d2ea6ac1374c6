"""From a training set to a registered version, step by step, each step a nested run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Vector
from gyroscope.bundle.bundle import Bundle, Manifest
from gyroscope.bundle.environment import build_environment
from gyroscope.config import Settings, metric_of
from gyroscope.data.contract import Contract
from gyroscope.data.performance import performance
from gyroscope.data.remarks import counted
from gyroscope.data.splits import Split, split_recent, split_rows
from gyroscope.data.training_set import TrainingSet, save_snapshot
from gyroscope.errors import DataError
from gyroscope.findings import Finding, Verdict
from gyroscope.model import ModelVersion
from gyroscope.registry.registry import Registry
from gyroscope.registry.tracking import Run, Tracker
from gyroscope.stats.intervals import Estimate
from gyroscope.stats.thresholds import cost_threshold, f1_threshold
from gyroscope.train.candidates import Candidate, Plan, best, fit_candidates
from gyroscope.train.families.base import ModelFamily, families_to_try
from gyroscope.train.plots import evaluation_figures
from gyroscope.train.reference import make_reference

STEPS = ("validate data", "snapshot", "split", "candidates", "calibrate", "evaluate", "register")
_EXPLAINED_ROWS = 100  # that the importance is averaged over

Progress = Callable[[str, str], None]  # step, detail


class Task(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What to train, on what, and why."""

    model: str
    purpose: str  # name of the run, e.g. "train", "retrain"
    contract: Contract
    settings: Settings  # of the model
    rows: TrainingSet
    checks: Sequence[Finding] = ()  # what checking the data found
    spans: Mapping[str, NDArray[np.bool_]] = {}  # name to a mask over ``rows``; all rows if empty
    since: float | None = None  # retraining: the newest rows, from here on (seconds), decide
    champion: Bundle | None = None  # recalibrated as one more candidate
    own: ModelFamily | None = None  # the user's, tried as one more family
    tags: Mapping[str, str] = {}


class Evaluated(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A calibrated candidate on the test rows, which nothing was chosen on."""

    candidate: Candidate
    bundle: Bundle
    rows: TrainingSet  # the test rows
    p: Vector  # their scores
    base: float | Vector  # what knowing nothing of a row would say, by the training rows: the share
    # of positives, the shares of all classes, or the mean
    metrics: Mapping[str, Estimate]


class Trained(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What a pipeline run made."""

    version: ModelVersion
    evaluated: Evaluated
    gates: tuple[Finding, ...]
    candidates: tuple[Candidate, ...]
    checks: tuple[Finding, ...] = ()  # what checking the data found

    @property
    def passed(self) -> bool:
        """Whether every gate was passed."""
        return all(finding.verdict is not Verdict.ALARM for finding in self.gates)


class Pipeline:
    """Runs tasks; what it needs of the world comes in here."""

    def __init__(
        self,
        *,
        tracker: Tracker,
        registry: Registry,
        snapshots: Path,
        gates: Callable[[Evaluated], Sequence[Finding]],
        progress: Progress = lambda step, detail: None,
    ) -> None:
        self._tracker, self._registry, self._snapshots = tracker, registry, snapshots
        self._gates, self._progress = gates, progress

    def run(self, task: Task) -> Trained:
        """Train, evaluate and register.

        Raises:
            DataError: the data cannot be trained on.
            BundleError: a scorer does not equal its training library.
        """
        with self._tracker.run(task.model, task.purpose) as run:
            run.json("contract.json", msgspec.to_builtins(task.contract))
            run.parameters({**task.settings, **{f"tag.{k}": v for k, v in task.tags.items()}})
            self._validate(task, run)
            digest = self._snapshot(task, run)
            split = self._split(task, run)
            candidates = self._candidates(task, split, run)
            chosen = best(candidates, metric_of(task.settings, task.contract.task))
            threshold = self._calibrate(task, split, chosen, run)
            evaluated = self._evaluate(task, split, chosen, (threshold, digest), run)
            return self._register(task, evaluated, candidates, run)

    @contextmanager
    def _step(self, run: Run, name: str, detail: str = "") -> Iterator[Run]:
        self._progress(name, detail)
        with run.child(name) as child:
            yield child

    def _validate(self, task: Task, run: Run) -> None:
        with self._step(run, "validate data", counted(len(task.rows), "row")) as step:
            step.json("findings.json", msgspec.to_builtins(list(task.checks)))
            positives = {"positives": float(task.rows.y.sum())}
            binary = task.contract.task == "binary"
            step.metrics({"rows": len(task.rows), **(positives if binary else {})})
            broken = [f.detail for f in task.checks if f.verdict is Verdict.ALARM]
            if broken:
                raise DataError(f"the data cannot be trained on: {'; '.join(broken)}")

    def _snapshot(self, task: Task, run: Run) -> str:
        with self._step(run, "snapshot") as step:
            digest = save_snapshot(task.rows, self._snapshots)
            step.json("snapshot.json", {"digest": digest, "rows": len(task.rows), **_span(task)})
            return digest

    def _split(self, task: Task, run: Run) -> Split:
        with self._step(run, "split") as step:
            kind, n_classes = task.contract.task, len(task.contract.classes) or 2
            if task.since is None:
                seed = task.settings["seed"]
                split = split_rows(task.rows, seed=seed, task=kind, n_classes=n_classes)
            else:
                split = split_recent(task.rows, task.since, task=kind, n_classes=n_classes)
            parts = {name: getattr(split, name) for name in ("train", "validation", "test")}
            step.parameters({"how": split.how})
            step.metrics({f"{name}_rows": len(part) for name, part in parts.items()})
            return split

    def _candidates(self, task: Task, split: Split, run: Run) -> tuple[Candidate, ...]:
        plan = Plan(
            rows=task.rows,
            split=split,
            contract=task.contract,
            families=families_to_try(task.settings, task.contract.task),
            spans=task.spans or {"all rows": np.ones(len(task.rows), dtype=bool)},
            champion=task.champion,
            own=task.own,
            seed=task.settings["seed"],
            most_rows=task.settings["most_rows"],
        )
        found = []
        metric = metric_of(task.settings, task.contract.task)
        shown = metric if task.contract.task == "regression" else "log_loss"
        n_families = len(plan.families) + (plan.own is not None)
        with self._step(run, "candidates", f"{n_families} families") as step:
            for candidate in fit_candidates(plan):
                found.append(candidate)
                loss = f"{shown.replace('_', '-')} {candidate.metrics[shown]:.4g}"
                self._progress("candidates", f"{candidate.name}: {loss}")
                with step.child(candidate.name) as child:
                    child.parameters({**candidate.fitted.parameters, "span": candidate.span})
                    child.metrics(
                        {
                            **candidate.metrics,
                            "fidelity": candidate.fidelity,
                            "seconds": candidate.seconds,
                            "rows": candidate.rows,
                        }
                    )
        return tuple(found)

    def _calibrate(self, task: Task, split: Split, chosen: Candidate, run: Run) -> float | None:
        calibration = chosen.calibration
        with self._step(run, "calibrate", calibration.method) as step:
            step.parameters({"method": calibration.method, "candidate": chosen.name})
            if task.contract.task != "binary":
                step.metrics({"loss": calibration.loss})
                return None
            y, p = task.rows.y[split.validation], calibration.scores
            costs = (task.settings["cost_false_positive"], task.settings["cost_false_negative"])
            if None in costs:
                threshold = f1_threshold(y, p)
            else:
                threshold = cost_threshold(false_positive=costs[0], false_negative=costs[1])
            step.metrics({"log_loss": calibration.loss, "threshold": threshold})
            return threshold

    def _evaluate(
        self, task: Task, split: Split, chosen: Candidate, made: tuple[float | None, str], run: Run
    ) -> Evaluated:
        with self._step(run, "evaluate", chosen.name) as step:
            bundle = _bundle(task, split, chosen, *made)
            test = task.rows.take(split.test)
            p = bundle.scores(test.X)
            found = performance(task.contract.task, test.y, p, bundle.manifest.threshold)
            step.metrics(_flat(found))
            figures = evaluation_figures(bundle, test.y, p, importance(bundle, test))
            for name, figure in figures.items():
                step.figure(f"plots/{name}", figure)
            return Evaluated(
                candidate=chosen,
                bundle=bundle,
                rows=test,
                p=p,
                base=_base(task.contract, task.rows.y[split.train]),
                metrics=found,
            )

    def _register(
        self, task: Task, evaluated: Evaluated, candidates: tuple[Candidate, ...], run: Run
    ) -> Trained:
        with self._step(run, "register") as step:
            gates = tuple(self._gates(evaluated))
            step.json("gates.json", msgspec.to_builtins(gates))
            run.metrics(_flat(evaluated.metrics))
            tags = {
                "family": evaluated.candidate.family,
                "span": evaluated.candidate.span,
                "snapshot": evaluated.bundle.manifest.snapshot,
                "trained_until": evaluated.bundle.manifest.trained_until or "",
                **task.tags,
            }
            version = self._registry.register(evaluated.bundle, run, tags)
        return Trained(
            version=version,
            evaluated=evaluated,
            gates=gates,
            candidates=candidates,
            checks=tuple(task.checks),
        )


def importance(bundle: Bundle, rows: TrainingSet) -> dict[str, float]:
    """Mean absolute Shapley value of each feature over some of the rows; none without them."""
    if not bundle.explains:
        return {}
    some = np.linspace(0, len(rows) - 1, min(_EXPLAINED_ROWS, len(rows))).astype(np.intp)
    X = rows.X[some]
    if bundle.contract.task == "multiclass":
        chosen = bundle.scores(X).argmax(axis=1)
        values = bundle.class_contributions(X, chosen).values
    else:
        values = bundle.contributions(X).values
    sizes = np.abs(values).mean(axis=0)
    return {c.name: float(s) for c, s in zip(bundle.contract.features, sizes, strict=True)}


def _base(contract: Contract, y: Vector) -> float | Vector:
    """What knowing nothing of a row would say."""
    if contract.task != "multiclass":
        return float(y.mean())
    shares: Vector = np.bincount(y.astype(np.intp), minlength=len(contract.classes)) / len(y)
    return shares


def _bundle(
    task: Task, split: Split, chosen: Candidate, threshold: float | None, digest: str
) -> Bundle:
    """The bundle of the chosen candidate, with the state of its test rows as reference."""
    rows, link = task.rows, chosen.calibration.link
    test = rows.take(split.test)
    p = link.probability(link.margin(chosen.fitted.scorer.margins(test.X)))
    found = performance(task.contract.task, test.y, p, threshold)
    first, last = _seen(task, split, chosen)
    manifest = Manifest(
        model=task.model,
        family=chosen.family,
        scorer=chosen.fitted.scorer.kind,
        link=link.kind,
        threshold=threshold,
        metrics={k: v.value for k, v in found.items() if v.defined},
        snapshot=digest,
        trained_from=_iso(rows, first),
        trained_until=_iso(rows, last),
        environment=build_environment(),
    )
    return Bundle(
        manifest=manifest,
        contract=task.contract,
        scorer=chosen.fitted.scorer,
        link=link,
        reference=make_reference(
            task.contract, rows, test, p, threshold=threshold, window=task.settings["window"]
        ),
    )


def _seen(task: Task, split: Split, chosen: Candidate) -> tuple[np.intp, np.intp]:
    """The first and the last in time of the rows that the candidate was fitted or chosen on."""
    span = task.spans.get(chosen.span)
    fitted = split.train if span is None else split.train[span[split.train]]
    seen = np.concatenate([fitted, split.validation])
    return seen[task.rows.time[seen].argmin()], seen[task.rows.time[seen].argmax()]


def _iso(rows: TrainingSet, position: np.intp) -> str | None:
    moment = rows.moment(int(position))
    return None if moment is None else moment.isoformat()


def _span(task: Task) -> dict[str, Any]:
    if not task.rows.timed:
        return {}
    first, last = task.rows.time.argmin(), task.rows.time.argmax()
    return {"from": _iso(task.rows, first), "until": _iso(task.rows, last)}


def _flat(found: Mapping[str, Estimate]) -> dict[str, float]:
    """Estimates and their intervals as plain metrics of a run."""
    flat = {}
    for name, estimate in found.items():
        if estimate.defined:
            flat[name] = estimate.value
            flat[f"{name}.low"] = estimate.interval.low
            flat[f"{name}.high"] = estimate.interval.high
    return flat
