"""``gyro train``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gyroscope.cli.options import (
    HERE,
    JsonOption,
    ModelArgument,
    WorkspaceOption,
    console,
    person,
    print_json,
    table,
)

if TYPE_CHECKING:
    from rich.console import Console

    from gyroscope.train.pipeline import Trained

_SHOWN = ("roc_auc", "log_loss", "brier", "accuracy", "precision", "recall", "f1")


def train(
    model: ModelArgument = None, workspace: WorkspaceOption = HERE, json: JsonOption = False
) -> None:
    """Train a model on its data and register a version; the first good one becomes champion."""
    from gyroscope.app import Workspace
    from gyroscope.cli.progress import training_progress
    from gyroscope.loop.manual import promote_first
    from gyroscope.loop.training import train_first

    space = Workspace(workspace)
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
                "gates": trained.gates,
                "champion": promoted,
            }
        )
    else:
        _tell(out, trained, promoted, space.tracking_uri)
    space.close()


def _tell(out: Console, trained: Trained, promoted: bool, tracking_uri: str) -> None:
    from rich.text import Text

    chosen = trained.evaluated.candidate
    candidates = table(
        "Candidates on the validation rows",
        ("candidate", "log-loss", "ROC AUC", "seconds"),
        numbers=("log-loss", "ROC AUC", "seconds"),
    )
    for candidate in sorted(trained.candidates, key=lambda c: c.metrics["log_loss"]):
        style = "bold" if candidate is chosen else ""
        candidates.add_row(
            candidate.name,
            f"{candidate.metrics['log_loss']:.4f}",
            f"{candidate.metrics['roc_auc']:.4f}",
            f"{candidate.seconds:.1f}",
            style=style,
        )
    out.print(candidates)
    found = table(
        f"{chosen.name} on {len(trained.evaluated.rows):,} test rows",
        ("metric", "value", "95 % interval"),
        numbers=("value",),
    )
    for name in _SHOWN:
        estimate = trained.evaluated.metrics[name]
        if estimate.defined:
            low, high = estimate.interval.low, estimate.interval.high
            found.add_row(name, f"{estimate.value:.4f}", f"{low:.4f} to {high:.4f}")
    out.print(found)
    for gate in trained.gates:
        out.print(
            Text.assemble(f"  gate {gate.check}: ", (gate.verdict, "bold"), f"  {gate.detail}")
        )
    model, version = trained.version.model, trained.version.version
    registered = (f"{model} version {version}", "bold")
    where = f" (run {trained.version.run_id}, MLflow at {tracking_uri})."
    out.print(Text.assemble("\nRegistered ", registered, where))
    if promoted:
        out.print(Text.assemble("It is the champion. Next: ", ("gyro up", "bold")))
    elif trained.passed:
        command = f"gyro promote {model} {version} --reason ..."
        out.print(Text.assemble("Another version is champion. To change that: ", (command, "bold")))
    else:
        out.print("It did not pass its gates and serves nobody.")
