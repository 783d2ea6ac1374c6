"""Predictions as an Arrow stream."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from gyroscope.serve.answers import ManyPredictions, OnePrediction


def arrow_answer(answer: OnePrediction | ManyPredictions) -> bytes:
    """One batch: prediction_id, time, probability, label; the rest of the answer as metadata.

    With several classes also probabilities, a struct of all; of a target of numbers value instead
    of probability and label. If explained, also margin, rest, and contributions as a list of
    feature and contribution, and with several classes explained and base; sentence if asked for. If
    a canary served some rows, also version and threshold of each, and its base if explained.
    """
    import pyarrow as pa

    assert isinstance(answer, ManyPredictions)
    rows = answer.predictions
    columns = {
        "prediction_id": pa.array([row.prediction_id for row in rows], pa.string()),
        "time": pa.array([row.time for row in rows], pa.timestamp("us", "UTC")),
        **_outcomes(answer),
    }
    about = {"model": answer.model, "version": answer.version}
    for name in ("threshold", "base"):
        if getattr(answer, name) is not UNSET:
            about[name] = getattr(answer, name)
    if rows[0].margin is not UNSET:
        columns |= _explanation(answer)
    if rows[0].sentence is not UNSET:
        columns["sentence"] = pa.array([row.sentence for row in rows], pa.string())
    if any(row.version is not UNSET for row in rows):
        columns |= _served_by(answer)
    table = pa.table(columns, metadata={name: str(value) for name, value in about.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _outcomes(answer: ManyPredictions) -> dict[str, Any]:
    import pyarrow as pa

    rows = answer.predictions
    if rows[0].value is not UNSET:
        return {"value": pa.array([row.value for row in rows], pa.float64())}
    columns = {
        "probability": pa.array([row.probability for row in rows], pa.float64()),
        "label": pa.array([row.label for row in rows], pa.string()),
    }
    if rows[0].probabilities is not UNSET:
        of_class = [(name, pa.float64()) for name in rows[0].probabilities]
        probabilities = pa.array([row.probabilities for row in rows], pa.struct(of_class))
        columns["probabilities"] = probabilities
    return columns


def _served_by(answer: ManyPredictions) -> dict[str, Any]:
    """What differs between the rows of two versions, for each row."""
    import pyarrow as pa

    names = ["version", *(n for n in ("threshold", "base") if getattr(answer, n) is not UNSET)]
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
    of_classes = {}
    if rows[0].explained is not UNSET:
        of_classes["explained"] = pa.array([row.explained for row in rows], pa.string())
        of_classes["base"] = pa.array([row.base for row in rows], pa.float64())
    return {
        **of_classes,
        "margin": pa.array([row.margin for row in rows], pa.float64()),
        "rest": pa.array([row.rest for row in rows], pa.float64()),
        "contributions": pa.array(contributions, listed),
    }
