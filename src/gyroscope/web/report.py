"""The self-contained HTML report of one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gyroscope
from gyroscope.app import Workspace
from gyroscope.data.contract import Task
from gyroscope.decisions import Action, Recorded, Status
from gyroscope.findings import SEVERITY, Finding, Verdict
from gyroscope.registry.publisher import aliases_in_words
from gyroscope.web.charts import detector_chart, drift_chart, metric_chart

_MOST_FINDINGS, _MOST_DECISIONS = 40, 500
_ALL_FINDINGS = 1_000_000

# What is charted and listed of each task, by its name among the metrics.
_METRICS: dict[Task, dict[str, str]] = {
    "binary": {"roc_auc": "ROC AUC", "log_loss": "Log-loss (lower is better)"},
    "multiclass": {"accuracy": "Accuracy", "log_loss": "Log-loss (lower is better)"},
    "regression": {"rmse": "RMSE (lower is better)", "r2": "R2"},
}


def write_report(space: Workspace, model: str, path: Path) -> None:
    """Write the report of a model to ``path``, whole or not at all."""
    text = render_report(space, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def render_report(space: Workspace, model: str) -> str:
    """The report as one HTML page that asks for nothing from anywhere."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    recorded = space.store.decisions(model, limit=_MOST_DECISIONS)
    findings = space.store.findings(model, limit=_ALL_FINDINGS)
    decisions = [r.decision for r in recorded if r.status is Status.DONE]
    metrics = _METRICS[_task(space, model)]
    charts = (
        *(metric_chart(findings, decisions, name, title) for name, title in metrics.items()),
        detector_chart(findings, decisions),
        drift_chart(findings),
    )
    environment = Environment(
        loader=PackageLoader("gyroscope.web"), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("report.html.j2").render(
        model=model,
        story=_story(recorded),
        stats=_stats(space, model, recorded),
        charts=[Markup(chart) for chart in charts if chart],
        decisions=recorded,
        metrics=list(metrics.values()),
        versions=_versions(space, model, list(metrics)),
        findings=_worst(findings),
        release=gyroscope.__version__,
    )


def _story(recorded: Sequence[Recorded]) -> str:
    """What was done, in one sentence."""
    done = Counter(r.decision.action for r in recorded if r.status is Status.DONE)
    parts = [
        _times(done[Action.ALARM], "alarm"),
        _times(done[Action.QUARANTINE], "quarantined window"),
        _times(done[Action.RETRAIN], "retraining"),
        _times(done[Action.PROMOTE], "promotion"),
        _times(done[Action.ROLL_BACK], "rollback"),
    ]
    return f"So far: {', '.join(parts)}."


def _times(n: int, what: str) -> str:
    return f"{n or 'no'} {what}{'' if n == 1 else 's'}"


def _stats(space: Workspace, model: str, recorded: Sequence[Recorded]) -> list[tuple[str, str]]:
    care = space.store.care(model)
    span = space.log(model).span()
    rows = len(space.log(model).read(None).predictions)
    return [
        ("State", f"{care.state}{' (paused)' if care.paused else ''}"),
        ("Champion", "none" if care.champion is None else f"version {care.champion}"),
        ("Predictions", f"{rows:,}"),
        ("Watched since", "-" if span is None else f"{span.start:%Y-%m-%d}"),
        ("Decisions", f"{len(recorded)}"),
    ]


def _task(space: Workspace, model: str) -> Task:
    """What the champion does, or else the newest version."""
    champion = space.store.care(model).champion
    if champion is None:
        numbers = [version.version for version in space.registry.versions(model)]
        champion = max(numbers, default=None)
    return "binary" if champion is None else space.bundle(model, champion).contract.task


def _versions(space: Workspace, model: str, names: Sequence[str]) -> list[dict[str, Any]]:
    shown = []
    for version in space.registry.versions(model):
        metrics = space.bundle(model, version.version).manifest.metrics
        shown.append(
            {
                "version": version.version,
                "aliases": aliases_in_words(version),
                "tags": version.tags,
                "metrics": [_number(metrics.get(name)) for name in names],
            }
        )
    return shown


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _worst(findings: Sequence[Finding]) -> list[Finding]:
    """The newest findings that are more than a notice, newest first."""
    worth = SEVERITY.index(Verdict.WARNING)
    found = [f for f in findings if SEVERITY.index(f.verdict) >= worth]
    return found[::-1][:_MOST_FINDINGS]
