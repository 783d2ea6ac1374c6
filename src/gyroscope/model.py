"""The things the stages of the loop hand to each other: versions, predictions, labels."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import overload

import msgspec

from gyroscope.errors import UsageError

CHAMPION = "champion"  # alias of the version that serves
CHALLENGER = "challenger"  # alias of the version on trial
CANARY = "canary"  # alias of the version that serves a share beside the champion
PREVIOUS = "previous"  # alias of the version a rollback goes to

Value = str | int | float | bool | None  # a field of a row as JSON carries it

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def checked_model_name(name: str) -> str:
    """Return ``name`` if it can name a model in URLs, folders and the registry.

    Raises:
        UsageError: anything but 1 to 64 letters, digits, ``-`` and ``_``.
    """
    if not _MODEL_NAME.fullmatch(name):
        raise UsageError(
            f"model name {name!r}: use 1 to 64 letters, digits, '-' and '_', "
            "starting with a letter or digit"
        )
    return name


class ModelVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A registered version of a model."""

    model: str
    version: int  # 1, 2, 3, ... in order of registration
    run_id: str  # MLflow run that made it
    created: datetime  # UTC
    aliases: tuple[str, ...] = ()
    tags: dict[str, str] = {}


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction as it was served."""

    id: str
    version: int  # of the model that made it
    time: datetime  # event time, UTC
    arrival: datetime  # when the server had it, UTC
    columns: tuple[str, ...]  # names of ``row``, in order
    row: tuple[Value, ...]  # fields as given by the client, before encoding
    # Calibrated probability of the positive class, those of all classes in their order, or the
    # value predicted.
    score: float | tuple[float, ...]
    entity: str | None = None  # value of the id column: whom the prediction is about


class PredictionBatch(Sequence[Prediction]):
    """Predictions of one version that arrived together, in columns.

    Nearly all that is done with the rows of a large request is done with all of them at once. Each
    is a :class:`Prediction`, made when it is asked for. The arguments are its fields, in the plural
    where they differ.
    """

    __slots__ = ("arrival", "columns", "entities", "ids", "rows", "scores", "times", "version")

    def __init__(
        self,
        *,
        ids: Sequence[str],
        version: int,
        times: Sequence[datetime],
        arrival: datetime,
        columns: tuple[str, ...],
        rows: Sequence[tuple[Value, ...]],
        scores: Sequence[float | tuple[float, ...]],
        entities: Sequence[str | None],
    ) -> None:
        self.ids, self.version, self.times, self.arrival = ids, version, times, arrival
        self.columns, self.rows, self.scores, self.entities = columns, rows, scores, entities

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, i: int) -> Prediction: ...
    @overload
    def __getitem__(self, i: slice) -> PredictionBatch: ...
    def __getitem__(self, i: int | slice) -> Prediction | PredictionBatch:
        if isinstance(i, slice):
            return PredictionBatch(
                ids=self.ids[i],
                version=self.version,
                times=self.times[i],
                arrival=self.arrival,
                columns=self.columns,
                rows=self.rows[i],
                scores=self.scores[i],
                entities=self.entities[i],
            )
        place = range(len(self))[i]  # raises IndexError
        return next(iter(self[place : place + 1]))

    def __iter__(self) -> Iterator[Prediction]:
        of_rows = zip(self.ids, self.times, self.rows, self.scores, self.entities, strict=True)
        for prediction_id, time, row, score, entity in of_rows:
            yield Prediction(
                id=prediction_id,
                version=self.version,
                time=time,
                arrival=self.arrival,
                columns=self.columns,
                row=row,
                score=score,
                entity=entity,
            )


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """One arrival of a label; a later arrival for the same prediction corrects the earlier."""

    prediction_id: str
    label: Value  # as given by the client
    time: datetime  # when the outcome became true, UTC
    arrival: datetime  # when the server had it, UTC
