"""Figures of one evaluated model, for the run that made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Vector
from gyroscope.bundle.bundle import Bundle
from gyroscope.stats.calibration_error import calibration_curve
from gyroscope.stats.class_metrics import chosen_class
from gyroscope.stats.confusion import confusion
from gyroscope.stats.curves import precision_recall_curve, roc_curve

_CHAMPION, _REFERENCE, _INK = "#1f66d0", "#9aa5b4", "#18202c"
_MOST_FEATURES = 20
_NAMES_IN_FULL = 6  # classes; more are written small


def evaluation_figures(
    bundle: Bundle, y: Vector, scores: Vector, importance: Mapping[str, float]
) -> dict[str, Any]:
    """Figures by file name, for the task of the bundle: ROC, precision and recall, calibration,
    confusion; or prediction against truth. And importance."""
    figures: dict[str, Any]
    if bundle.contract.task == "regression":
        figures = {"predicted.png": _predicted(y, scores, bundle.unit)}
    elif bundle.contract.task == "multiclass":
        right, confidence = chosen_class(y, scores)
        chosen = scores.argmax(axis=1)
        figures = {
            "calibration.png": _calibration(right, confidence),
            "confusion_matrix.png": _confusion_of_classes(y, chosen, bundle.contract.classes),
        }
    else:
        figures = {
            "roc.png": _roc(y, scores),
            "precision_recall.png": _precision_recall(y, scores),
            "calibration.png": _calibration(y, scores),
            "confusion_matrix.png": _confusion(y, scores, bundle.threshold),
        }
    return figures | ({"importance.png": _importance(importance)} if importance else {})


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
    _cells(axes, cells, ("negative", "positive"))
    return figure


def _confusion_of_classes(y: Vector, chosen: NDArray[np.intp], classes: Sequence[str]) -> Any:
    figure, axes = _axes("Confusion matrix", "Predicted", "Actual")
    pairs = y.astype(np.intp) * len(classes) + chosen
    counts = np.bincount(pairs, minlength=len(classes) ** 2).reshape(len(classes), -1)
    _cells(axes, counts.tolist(), classes)
    return figure


def _cells(axes: Any, cells: Sequence[Sequence[int]], names: Sequence[str]) -> None:
    most = max(1, *(count for row in cells for count in row))
    small = len(names) > _NAMES_IN_FULL
    size = {"fontsize": 6} if small else {}
    axes.imshow(cells, cmap="Blues", vmin=0, vmax=most)
    for i, row in enumerate(cells):
        for j, count in enumerate(row):
            colour = "white" if count > most / 2 else _INK
            axes.text(j, i, f"{count:,}", ha="center", va="center", color=colour, **size)
    shown = [_plain(name) for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=90 if small else 0, **size)
    axes.set_yticks(range(len(names)), shown, **size)


def _predicted(y: Vector, predicted: Vector, unit: str) -> Any:
    figure, axes = _axes("Prediction and truth", f"Predicted ({_plain(unit)})", "Actual")
    ends = [min(y.min(), predicted.min()), max(y.max(), predicted.max())]
    axes.plot(ends, ends, color=_REFERENCE, linestyle="--", linewidth=1)
    axes.plot(predicted, y, ".", color=_CHAMPION, markersize=3, alpha=0.4, rasterized=True)
    return figure


def _importance(importance: Mapping[str, float]) -> Any:
    figure, axes = _axes("Importance", "Mean absolute Shapley value", "")
    top = sorted(importance.items(), key=lambda item: item[1])[-_MOST_FEATURES:]
    axes.barh([_plain(name) for name, _ in top], [size for _, size in top], color=_CHAMPION)
    return figure


def _plain(name: str) -> str:
    """A column name that matplotlib does not take for mathematics."""
    return (name if len(name) <= 30 else name[:29] + "…").replace("$", r"\$")
