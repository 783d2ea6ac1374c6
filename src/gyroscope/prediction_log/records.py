"""Predictions and labels as the MessagePack records of a segment.

A record holds up to :data:`ROWS_PER_RECORD` rows in columns: all ids, then all times, and so on.
Ids and times stand first so that an index can be built without decoding what follows. Column names
are written apart, as a :class:`Schema` that records refer to by a digest of the names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Any, TypeVar

import msgspec

from gyroscope.errors import LogError
from gyroscope.model import Label, Prediction, PredictionBatch, Value

ROWS_PER_RECORD = 1024  # a window is read by whole records, so they may not grow without bound
_BIG_INTEGER = 1  # MessagePack extension type of an integer beyond 64 bits: two's complement

ZonedTime = Annotated[datetime, msgspec.Meta(tz=True)]
Payload = bytes | memoryview
_Row = TypeVar("_Row", Prediction, Label)
_Record = TypeVar("_Record", "PredictionRecord", "LabelRecord")


class Head(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How the records of rows begin."""

    ids: list[str]
    times: list[ZonedTime]
    arrivals: list[ZonedTime]


class Schema(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=0):
    """Names of the fields of rows."""

    key: bytes  # digest of the names
    columns: tuple[str, ...]


class PredictionHead(Head, frozen=True, kw_only=True, array_like=True, tag=1):
    """A :class:`PredictionRecord` without what its index does not need."""


class PredictionRecord(Head, frozen=True, kw_only=True, array_like=True, tag=1):
    """Predictions of one version with the same columns, in the order written."""

    version: int
    schema: bytes  # key of the schema
    scores: list[float | tuple[float, ...]]
    entities: list[str | None]
    rows: list[tuple[Any, ...]]


class PredictionCheck(Head, frozen=True, kw_only=True, array_like=True, tag=1):
    """A :class:`PredictionRecord` of which all is decoded but the values of the rows."""

    version: int
    schema: bytes
    scores: list[float | tuple[float, ...]]
    entities: list[str | None]
    rows: msgspec.Raw


class LabelHead(Head, frozen=True, kw_only=True, array_like=True, tag=2):
    """A :class:`LabelRecord` without what its index does not need."""


class LabelRecord(Head, frozen=True, kw_only=True, array_like=True, tag=2):
    """Arrivals of labels, in the order written."""

    labels: list[Any]


class Encoded(msgspec.Struct, frozen=True, kw_only=True):
    """A record as it will stand in a segment."""

    payload: bytes
    columns: tuple[str, ...] | None = None  # of the schema it refers to; None for labels


def _big_integer(code: int, data: memoryview) -> int:
    if code != _BIG_INTEGER:
        raise ValueError(f"unknown MessagePack extension type {code}")
    return int.from_bytes(data, "big", signed=True)


_encoder = msgspec.msgpack.Encoder()
RecordHead = Schema | PredictionHead | LabelHead
_predictions = msgspec.msgpack.Decoder(PredictionRecord, ext_hook=_big_integer)
_checks = msgspec.msgpack.Decoder(PredictionCheck)
_labels = msgspec.msgpack.Decoder(LabelRecord, ext_hook=_big_integer)
_values: msgspec.msgpack.Decoder[dict[int, Any]] = msgspec.msgpack.Decoder(
    dict[int, Any], ext_hook=_big_integer
)
_heads: msgspec.msgpack.Decoder[RecordHead] = msgspec.msgpack.Decoder(RecordHead)


def decode_predictions(payload: Payload) -> PredictionRecord:
    """A record of predictions; raises msgspec.MsgspecError for anything else."""
    return _predictions.decode(payload)


def decode_labels(payload: Payload) -> LabelRecord:
    """A record of labels; raises msgspec.MsgspecError for anything else."""
    return _labels.decode(payload)


def decode_head(payload: Payload) -> RecordHead:
    """A schema, or the ids and times of a record; raises msgspec.MsgspecError."""
    return _heads.decode(payload)


@lru_cache(maxsize=256)
def schema_key(columns: tuple[str, ...]) -> bytes:
    """The digest by which records refer to their column names."""
    return hashlib.blake2b(_encoder.encode(columns), digest_size=8).digest()


def encode_schema(columns: tuple[str, ...]) -> bytes:
    """The payload of a schema record."""
    return _encoder.encode(Schema(key=schema_key(columns), columns=columns))


def encode_predictions(predictions: Sequence[Prediction]) -> list[Encoded]:
    """The records of predictions, in order.

    Raises:
        LogError: names the first prediction with a value that a log cannot hold.
    """
    encoded = []
    for run in _runs(predictions):
        for some in _pieces(run):
            payload = _payload(some, _prediction_record, _check_predictions)
            encoded.append(Encoded(payload=payload, columns=some[0].columns))
    return encoded


def _runs(predictions: Sequence[Prediction]) -> Iterator[Sequence[Prediction]]:
    """Those in a row that have the same version and columns."""
    if type(predictions) is PredictionBatch:  # isinstance takes long for classes with ABCs
        yield predictions
    else:
        for _, run in groupby(predictions, lambda p: (p.version, p.columns)):
            yield list(run)


def encode_labels(labels: Sequence[Label]) -> list[Encoded]:
    """The records of labels, in order; raises like :func:`encode_predictions`."""
    return [
        Encoded(payload=_payload(some, _label_record, _labels.decode)) for some in _pieces(labels)
    ]


def pack_values(values: dict[int, Value]) -> bytes:
    """Values by number, exactly."""
    return _encoder.encode({number: _extended(value) for number, value in values.items()})


def unpack_values(packed: bytes) -> dict[int, Value]:
    """What :func:`pack_values` packed; raises msgspec.MsgspecError for anything else."""
    return _values.decode(packed)


def predictions_at(
    record: PredictionRecord, columns: tuple[str, ...], positions: Sequence[int]
) -> list[Prediction]:
    """The predictions at some positions of a record."""
    return [
        Prediction(
            id=record.ids[i],
            version=record.version,
            time=record.times[i],
            arrival=record.arrivals[i],
            columns=columns,
            row=record.rows[i],
            score=record.scores[i],
            entity=record.entities[i],
        )
        for i in positions
    ]


def labels_at(record: LabelRecord, positions: Sequence[int]) -> list[Label]:
    """The labels at some positions of a record."""
    return [
        Label(
            prediction_id=record.ids[i],
            label=record.labels[i],
            time=record.times[i],
            arrival=record.arrivals[i],
        )
        for i in positions
    ]


def _pieces(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    for start in range(0, len(rows), ROWS_PER_RECORD):
        yield rows[start : start + ROWS_PER_RECORD]


def _check_predictions(payload: bytes) -> None:
    # Whatever was encoded as the value of a row can be decoded, and that is most of the work.
    _checks.decode(payload)


def _prediction_record(predictions: Sequence[Prediction]) -> PredictionRecord:
    if type(predictions) is PredictionBatch:
        return _batch_record(predictions)
    if not all(isinstance(p.row, tuple) for p in predictions):
        raise TypeError("Expected `tuple` as row")
    return PredictionRecord(
        ids=[p.id for p in predictions],
        times=[p.time for p in predictions],
        arrivals=[p.arrival for p in predictions],
        version=predictions[0].version,
        schema=schema_key(predictions[0].columns),
        scores=[p.score for p in predictions],
        entities=[p.entity for p in predictions],
        rows=[p.row for p in predictions],
    )


def _batch_record(batch: PredictionBatch) -> PredictionRecord:
    return PredictionRecord(
        ids=list(batch.ids),
        times=list(batch.times),
        arrivals=[batch.arrival] * len(batch),
        version=batch.version,
        schema=schema_key(batch.columns),
        scores=list(batch.scores),
        entities=list(batch.entities),
        rows=list(batch.rows),
    )


def _label_record(labels: Sequence[Label]) -> LabelRecord:
    return LabelRecord(
        ids=[label.prediction_id for label in labels],
        times=[label.time for label in labels],
        arrivals=[label.arrival for label in labels],
        labels=[label.label for label in labels],
    )


def _payload(
    rows: Sequence[_Row],
    record_of: Callable[[Sequence[_Row]], _Record],
    check: Callable[[bytes], object],
) -> bytes:
    """Encode and read back: one value of a wrong type would make all its record unreadable."""
    try:
        payload = _encode(record_of(rows))
        check(payload)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        if len(rows) > 1:
            for row in rows:  # the first that cannot be encoded alone is the one to name
                _payload([row], record_of, check)
        raise LogError(f"{_name(rows[0])} cannot be logged: {error}") from None
    return payload


def _encode(record: PredictionRecord | LabelRecord) -> bytes:
    try:
        return _encoder.encode(record)
    except OverflowError:
        return _encoder.encode(_with_big_integers(record))


def _with_big_integers(record: PredictionRecord | LabelRecord) -> PredictionRecord | LabelRecord:
    if isinstance(record, LabelRecord):
        return msgspec.structs.replace(record, labels=[_extended(v) for v in record.labels])
    rows = [tuple(_extended(value) for value in row) for row in record.rows]
    return msgspec.structs.replace(record, rows=rows)


def _extended(value: Value) -> Value | msgspec.msgpack.Ext:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        data = value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
        return msgspec.msgpack.Ext(_BIG_INTEGER, data)
    return value


def _name(row: Prediction | Label) -> str:
    if isinstance(row, Prediction):
        return f"prediction {row.id!r}"
    return f"label of prediction {row.prediction_id!r}"
