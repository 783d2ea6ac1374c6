"""Predictions as an Arrow stream."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from gyroscope.serve.answers import ManyPredictions, OnePrediction


def arrow_answer(answer: OnePrediction | ManyPredictions) -> bytes:
    """One batch: prediction_id, time, probability, label; the rest of the answer as metadata.

    If explained, also margin, rest, and contributions as a list of feature and contribution. If a
    canary served some rows, also version and threshold of each, and its base if explained.
    """
    import pyarrow as pa

    assert isinstance(answer, ManyPredictions)
    rows = answer.predictions
    columns = {
        "prediction_id": pa.array([row.prediction_id for row in rows], pa.string()),
        "time": pa.array([row.time for row in rows], pa.timestamp("us", "UTC")),
        "probability": pa.array([row.probability for row in rows], pa.float64()),
        "label": pa.array([row.label for row in rows], pa.string()),
    }
    about = {"model": answer.model, "version": answer.version, "threshold": answer.threshold}
    if answer.base is not UNSET:
        about["base"] = answer.base
        columns |= _explanation(answer)
    if any(row.version is not UNSET for row in rows):
        columns |= _served_by(answer)
    table = pa.table(columns, metadata={name: str(value) for name, value in about.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _served_by(answer: ManyPredictions) -> dict[str, Any]:
    """What differs between the rows of two versions, for each row."""
    import pyarrow as pa

    names = ("version", "threshold", *(() if answer.base is UNSET else ("base",)))
    said_by = [answer if row.version is UNSET else row for row in answer.predictions]
    return {name: pa.array([getattr(by, name) for by in said_by]) for name in names}


def _explanation(answer: ManyPredictions) -> dict[str, Any]:
    import pyarrow as pa

    listed = pa.list_(pa.struct([("feature", pa.string()), ("contribution", pa.float64())]))
    rows = answer.predictions
    contributions = [
        [{"feature": c.feature, "contribution": c.contribution} for c in row.contributions or ()]
        for row in rows
    ]
    return {
        "margin": pa.array([row.margin for row in rows], pa.float64()),
        "rest": pa.array([row.rest for row in rows], pa.float64()),
        "contributions": pa.array(contributions, listed),
    }
