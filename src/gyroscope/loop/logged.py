"""Rows of the prediction log as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.contract import Contract
from gyroscope.data.encoder import Encoder
from gyroscope.findings import Window
from gyroscope.loop.clock import moment
from gyroscope.model import Label, Prediction
from gyroscope.prediction_log.base import PredictionLog

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ROWS_AT_ONCE = 20_000  # so that a long log needs no more memory than a short one


class LoggedRows(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Predictions of a window in order of event time, encoded by a contract."""

    X: NDArray[np.float64]  # float64[n, p]
    fits: Mask  # bool[n]: rows that fit the contract
    time: Vector  # float64[n], seconds since 1970 UTC
    score: Vector  # as served, float64[n] or float64[n, classes]; NaN if of another task
    version: NDArray[np.int64]  # int64[n], that served it
    y: Vector  # float64[n], as models are trained on; NaN without a label
    entity: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.y)

    @property
    def labelled(self) -> Mask:
        """Rows whose label has arrived."""
        return ~np.isnan(self.y)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction with all labels that have arrived for it, by arrival: the last one counts."""

    prediction: Prediction
    labels: tuple[Label, ...]


def records_of(log: PredictionLog, subject: str) -> list[Record]:
    """All predictions with an id or about an entity, by event time; reads the whole log."""
    found = [
        prediction
        for window in stretches(log)
        for prediction in log.read(window).predictions
        if subject in (prediction.id, prediction.entity)
    ]
    return [Record(prediction=p, labels=log.arrivals(p.id)) for p in found]


def stretches(log: PredictionLog) -> Iterator[Window]:
    """Windows that follow one another and hold the whole log, about as many rows in each."""
    span = log.span()
    if span is None:
        return
    starts = [moment(time) for time in sorted(set(log.times()[::_ROWS_AT_ONCE].tolist()))]
    for start, end in pairwise([*starts, span.end]):
        yield Window(start, end)


def labelled_rows(log: PredictionLog, contract: Contract, window: Window | None) -> LoggedRows:
    """Read and encode the predictions of a window (all if None) with the labels so far."""
    joined = log.read(window)
    encoder = Encoder(contract)
    predictions = joined.predictions
    X, fits = _encoded(encoder, predictions)
    return LoggedRows(
        X=X,
        fits=fits,
        time=np.array([p.time.timestamp() for p in predictions], dtype=np.float64),
        score=_scores(predictions, len(contract.classes)),
        version=np.array([p.version for p in predictions], dtype=np.int64),
        y=np.array([_label(encoder, label) for label in joined.labels], dtype=np.float64),
        entity=[p.entity for p in predictions],
    )


def _encoded(
    encoder: Encoder, predictions: Sequence[Prediction]
) -> tuple[NDArray[np.float64], Mask]:
    """Encode rows, those with the same columns together."""
    X = np.empty((len(predictions), len(encoder.contract.features)))
    fits = np.ones(len(predictions), dtype=bool)
    by_columns: dict[tuple[str, ...], list[int]] = {}
    for i, prediction in enumerate(predictions):
        by_columns.setdefault(prediction.columns, []).append(i)
    for columns, positions in by_columns.items():
        encoded = encoder.encode_logged(columns, [predictions[i].row for i in positions])
        X[positions], fits[positions] = encoded.X, encoded.fits
    return X, fits


def _scores(predictions: Sequence[Prediction], n_classes: int) -> Vector:
    """The scores; NaN where a version of another task, or of other classes, has served."""
    if not n_classes:
        found = [np.nan if isinstance(p.score, tuple) else p.score for p in predictions]
        return np.array(found, dtype=np.float64)
    unknown = (np.nan,) * n_classes
    of_classes = [
        p.score if isinstance(p.score, tuple) and len(p.score) == n_classes else unknown
        for p in predictions
    ]
    return np.array(of_classes, dtype=np.float64).reshape(-1, n_classes)


def _label(encoder: Encoder, label: Label | None) -> float:
    """NaN for no label or one that the contract no longer knows."""
    if label is None:
        return np.nan
    try:
        return encoder.label(label.label)
    except ValueError:
        return np.nan
