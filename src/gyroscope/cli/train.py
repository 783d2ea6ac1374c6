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

_SHOWN = ("roc_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1")


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
    shown = table(
        "Candidates on the validation rows",
        ("candidate", "log-loss", "ROC AUC", "seconds"),
        numbers=("log-loss", "ROC AUC", "seconds"),
    )
    for candidate in sorted(trained.candidates, key=lambda c: c.metrics["log_loss"]):
        shown.add_row(
            candidate.name,
            f"{candidate.metrics['log_loss']:.4f}",
            f"{candidate.metrics['roc_auc']:.4f}",
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
        estimate = evaluated.metrics[name]
        if estimate.defined:
            low, high = estimate.interval.low, estimate.interval.high
            shown.add_row(name, f"{estimate.value:.4f}", f"{low:.4f} to {high:.4f}")
    return shown
