"""``gyro train``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gyroscope.cli.options import (
    HERE,
    JsonOption,
    ModelArgument,
    WorkspaceOption,
    console,
    opened,
    person,
    print_json,
    table,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from gyroscope.train.pipeline import Trained

_SHOWN = (
    *("roc_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1"),
    *("rmse", "mae", "r2"),
)
_COMPARED = {"log_loss": "log-loss", "roc_auc": "ROC AUC"}  # candidates; or else by
_COMPARED_VALUES = {"rmse": "RMSE", "r2": "R2"}


def train(
    model: ModelArgument = None, workspace: WorkspaceOption = HERE, json: JsonOption = False
) -> None:
    """Train a model on its data and register a version; the first good one becomes champion."""
    from gyroscope.cli.progress import training_progress
    from gyroscope.loop.manual import promote_first
    from gyroscope.loop.training import train_first

    with opened(workspace) as space:
        name = space.model(model)
        out = console()
        with training_progress(out, name, shown=not json) as progress:
            trained = train_first(space.world, name, progress)
        promoted = promote_first(space.world, trained.version, trained.passed, actor=person())
    if json:
        print_json(
            {
                "model": name,
                "version": trained.version.version,
                "family": trained.evaluated.candidate.family,
                "metrics": trained.evaluated.metrics,
                "checks": trained.checks,
                "gates": trained.gates,
                "champion": promoted,
            }
        )
    else:
        _tell(out, trained, promoted, space.tracking_uri)


def _tell(out: Console, trained: Trained, promoted: bool, tracking_uri: str) -> None:
    from rich.text import Text

    from gyroscope.findings import SEVERITY, Verdict

    for finding in trained.checks:
        if SEVERITY.index(finding.verdict) >= SEVERITY.index(Verdict.NOTICE):
            out.print(f"{finding.verdict}: {finding.subject}: {finding.detail}")
    out.print(_candidates(trained))
    out.print(_metrics(trained))
    for gate in trained.gates:
        out.print(
            Text.assemble(f"  gate {gate.check}: ", (gate.verdict, "bold"), f"  {gate.detail}")
        )
    model, version = trained.version.model, trained.version.version
    registered = (f"{model} version {version}", "bold")
    where = f" (run {trained.version.run_id}, MLflow at {tracking_uri})."
    out.print(Text.assemble("\nRegistered ", registered, where))
    command = (f"gyro promote {model} {version} --reason ...", "bold")
    if promoted:
        out.print(Text.assemble("It is the champion. Next: ", ("gyro up", "bold")))
    elif trained.passed:
        out.print(Text.assemble("Another version is champion. To change that: ", command))
    else:
        nobody = "It did not pass its gates and serves nobody. To have it serve all the same: "
        out.print(Text.assemble(nobody, command))


def _candidates(trained: Trained) -> Table:
    values = "rmse" in trained.evaluated.metrics
    compared = _COMPARED_VALUES if values else _COMPARED
    shown = table(
        "Candidates on the validation rows",
        ("candidate", *compared.values(), "seconds"),
        numbers=(*compared.values(), "seconds"),
    )
    first = next(iter(compared))
    for candidate in sorted(trained.candidates, key=lambda c: c.metrics[first]):
        shown.add_row(
            candidate.name,
            *(_number(candidate.metrics.get(name)) for name in compared),
            f"{candidate.seconds:.1f}",
            style="bold" if candidate is trained.evaluated.candidate else "",
        )
    return shown


def _metrics(trained: Trained) -> Table:
    evaluated = trained.evaluated
    shown = table(
        f"{evaluated.candidate.name} on {len(evaluated.rows):,} test rows",
        ("metric", "value", "95 % interval"),
        numbers=("value",),
    )
    for name in _SHOWN:
        estimate = evaluated.metrics.get(name)
        if estimate is not None and estimate.defined:
            low, high = estimate.interval.low, estimate.interval.high
            shown.add_row(name, _number(estimate.value), f"{_number(low)} to {_number(high)}")
    return shown


def _number(value: float | None) -> str:
    """With four decimals; fewer from ten on."""
    if value is None:
        return ""
    size = abs(value)
    return f"{value:,.{4 if size < 10 else 2 if size < 1000 else 0}f}"
