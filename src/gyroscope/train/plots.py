"""Figures of one evaluated model, for the run that made it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gyroscope.bundle.base import Vector
from gyroscope.stats.calibration_error import calibration_curve
from gyroscope.stats.confusion import confusion
from gyroscope.stats.curves import precision_recall_curve, roc_curve

_CHAMPION, _REFERENCE, _INK = "#1f66d0", "#9aa5b4", "#18202c"
_MOST_FEATURES = 20


def evaluation_figures(
    y: Vector, p: Vector, threshold: float, importance: Mapping[str, float]
) -> dict[str, Any]:
    """Figures by file name: ROC, precision and recall, calibration, confusion, importance."""
    return {
        "roc.png": _roc(y, p),
        "precision_recall.png": _precision_recall(y, p),
        "calibration.png": _calibration(y, p),
        "confusion_matrix.png": _confusion(y, p, threshold),
        **({"importance.png": _importance(importance)} if importance else {}),
    }


def _axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _roc(y: Vector, p: Vector) -> Any:
    figure, axes = _axes("ROC curve", "False positive rate", "True positive rate")
    curve = roc_curve(y, p)
    axes.plot([0, 1], [0, 1], color=_REFERENCE, linestyle="--", linewidth=1)
    axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=_CHAMPION)
    return figure


def _precision_recall(y: Vector, p: Vector) -> Any:
    figure, axes = _axes("Precision and recall", "Recall", "Precision")
    curve = precision_recall_curve(y, p)
    axes.axhline(float(y.mean()), color=_REFERENCE, linestyle="--", linewidth=1)
    axes.plot(curve.recall, curve.precision, color=_CHAMPION)
    axes.set_ylim(0, 1.02)
    return figure


def _calibration(y: Vector, p: Vector) -> Any:
    figure, axes = _axes("Calibration", "Predicted probability", "Share of positives")
    curve = calibration_curve(y, p)
    axes.plot([0, 1], [0, 1], color=_REFERENCE, linestyle="--", linewidth=1)
    axes.errorbar(
        curve.mean_score,
        curve.positive_rate,
        yerr=1.96 * curve.standard_error,
        color=_CHAMPION,
        marker="o",
        markersize=4,
        linewidth=1,
    )
    return figure


def _confusion(y: Vector, p: Vector, threshold: float) -> Any:
    figure, axes = _axes(f"Confusion matrix at {threshold:.3f}", "Predicted", "Actual")
    counts = confusion(y, p, threshold)
    cells = [
        [counts.true_negative, counts.false_positive],
        [counts.false_negative, counts.true_positive],
    ]
    most = max(1, *cells[0], *cells[1])
    axes.imshow(cells, cmap="Blues", vmin=0, vmax=most)
    for i, row in enumerate(cells):
        for j, count in enumerate(row):
            colour = "white" if count > most / 2 else _INK
            axes.text(j, i, f"{count:,}", ha="center", va="center", color=colour)
    axes.set_xticks([0, 1], ["negative", "positive"])
    axes.set_yticks([0, 1], ["negative", "positive"])
    return figure


def _importance(importance: Mapping[str, float]) -> Any:
    figure, axes = _axes("Importance", "Mean absolute Shapley value", "")
    top = sorted(importance.items(), key=lambda item: item[1])[-_MOST_FEATURES:]
    axes.barh([_plain(name) for name, _ in top], [size for _, size in top], color=_CHAMPION)
    return figure


def _plain(name: str) -> str:
    """A column name that matplotlib does not take for mathematics."""
    return (name if len(name) <= 30 else name[:29] + "…").replace("$", r"\$")
