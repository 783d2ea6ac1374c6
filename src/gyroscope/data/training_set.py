"""Rows to train on, encoded, with an identity of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.contract import Contract
from gyroscope.data.encoder import Encoder
from gyroscope.errors import DataError, FieldProblem

Vector = NDArray[np.float64]
_ARRAYS = ("X", "y", "weight", "time", "group")


class TrainingSet(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Labelled rows after encoding."""

    X: NDArray[np.float64]  # float64[n, p]
    y: Vector  # float64[n] in {0, 1}
    weight: Vector  # float64[n], positive
    time: Vector  # float64[n], seconds since 1970 UTC; NaN without a time column
    group: NDArray[np.int64]  # int64[n]: rows about the same entity; -1 without an id column

    def __len__(self) -> int:
        return len(self.y)

    @property
    def timed(self) -> bool:
        """Whether every row has an event time."""
        return bool(len(self)) and not np.isnan(self.time).any()

    @property
    def digest(self) -> str:
        """Sha256 over all values: equal exactly when training would see the same rows."""
        hashed = hashlib.sha256()
        for name in _ARRAYS:
            array = np.ascontiguousarray(getattr(self, name))
            hashed.update(f"{name} {array.dtype} {array.shape}".encode())
            hashed.update(array.data)
        return hashed.hexdigest()

    def take(self, rows: NDArray[Any]) -> TrainingSet:
        """The rows at these positions, or where this mask is true."""
        return TrainingSet(**{name: getattr(self, name)[rows] for name in _ARRAYS})

    def moment(self, position: int) -> datetime | None:
        """The event time of a row."""
        seconds = float(self.time[position])
        return None if np.isnan(seconds) else datetime.fromtimestamp(seconds, UTC)


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A training set made from a table, and what was left out on the way."""

    rows: TrainingSet
    unlabelled: int  # rows without a target
    unfit: int  # rows with a value that does not fit the contract
    problems: tuple[FieldProblem, ...]  # the first misfit of each column


def load_training_set(table: Any, contract: Contract) -> Loaded:
    """Encode an Arrow table, leaving out rows that have no label or do not fit the contract.

    Raises:
        DataError: a column is absent, the target has unknown values, or no row is left.
    """
    encoder = Encoder(contract)
    encoded = encoder.encode_table(table)
    y = encoder.encode_target(table)
    weight, time = np.ones(len(y)), np.full(len(y), np.nan)
    group = np.full(len(y), -1, dtype=np.int64)
    fits = encoded.fits.copy()
    problems = list(encoded.problems)
    for column, target in ((contract.weight, weight), (contract.time, time)):
        if column is None:
            continue
        values = encoder.encode_role(table, column)
        target[:] = values.values
        fits &= ~np.isnan(values.values)
        if values.bad.size:
            problems.append(
                FieldProblem(
                    row=int(values.bad[0]),
                    field=column.name,
                    given=values.first_bad,
                    expected=f"a value of the {column.role} column",
                )
            )
    fits &= weight > 0
    if contract.id is not None and contract.id.name in table.column_names:
        group = _groups(table.column(contract.id.name))
    labelled = ~np.isnan(y)
    whole = TrainingSet(X=encoded.X, y=y, weight=weight, time=time, group=group)
    rows = whole.take(fits & labelled)
    if not len(rows):
        first = f"; the first misfit: {problems[0]}" if problems else ""
        raise DataError(f"none of the {len(y)} rows can be trained on{first}")
    return Loaded(
        rows=rows,
        unlabelled=int((~labelled).sum()),
        unfit=int((labelled & ~fits).sum()),
        problems=tuple(problems),
    )


def _groups(column: Any) -> NDArray[np.int64]:
    array = column.combine_chunks()
    array = array if hasattr(array, "dictionary") else array.dictionary_encode()
    codes: NDArray[np.int64] = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes.astype(np.int64)


def concatenate(parts: Sequence[TrainingSet]) -> TrainingSet:
    """All rows of all parts; entities of different parts count as different."""
    offset, groups = 0, []
    for part in parts:
        groups.append(np.where(part.group < 0, -1, part.group + offset))
        offset += int(part.group.max(initial=-1)) + 1
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("X", "y", "weight", "time")
    }
    return TrainingSet(**joined, group=np.concatenate(groups))


def save_snapshot(rows: TrainingSet, folder: Path) -> str:
    """Keep the rows under their digest, once; returns the digest."""
    from safetensors.numpy import save_file

    digest = rows.digest
    path = folder / f"{digest}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        save_file({n: np.ascontiguousarray(getattr(rows, n)) for n in _ARRAYS}, str(temporary))
        temporary.replace(path)
    return digest


def load_snapshot(digest: str, folder: Path) -> TrainingSet:
    """The rows kept under a digest.

    Raises:
        DataError: there are none, or they were altered.
    """
    from safetensors.numpy import load_file

    path = folder / f"{digest}.safetensors"
    if not path.is_file():
        raise DataError(f"no snapshot {digest[:12]} in {folder}")
    rows = TrainingSet(**load_file(str(path)))
    if rows.digest != digest:
        raise DataError(f"{path} was altered: its rows do not have its digest")
    return rows
