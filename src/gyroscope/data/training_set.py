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

from gyroscope.data.arrow import shown
from gyroscope.data.codec import Codec
from gyroscope.data.contract import Column, Contract, Role
from gyroscope.data.encoder import Encoder
from gyroscope.data.files import write_atomically
from gyroscope.errors import DataError, FieldProblem, RowError

Vector = NDArray[np.float64]
_ARRAYS = ("X", "y", "weight", "time", "group")


class TrainingSet(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Labelled rows after encoding."""

    X: NDArray[np.float64]  # float64[n, p]
    y: Vector  # float64[n] in {0, 1}, or classes from 0 on, or numbers
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

    A row needs an event time and a positive weight if the contract has columns for them.

    Raises:
        DataError: a column is absent, the target has unknown values, or no row is left.
    """
    encoder = Encoder(contract)
    encoded = encoder.encode_table(table)
    y = encoder.encode_target(table)
    fits, problems = encoded.fits.copy(), list(encoded.problems)
    weight, time = np.ones(len(y)), np.full(len(y), np.nan)
    for column, found in ((contract.weight, weight), (contract.time, time)):
        if column is None:
            continue
        found[:] = encoder.encode_role(table, column).values
        usable = found > 0 if column.role is Role.WEIGHT else ~np.isnan(found)
        fits &= usable
        if not usable.all():
            problems.append(_unusable(table, column, int(np.argmin(usable))))
    labelled = ~np.isnan(y)
    group = _groups(table, contract)
    whole = TrainingSet(X=encoded.X, y=y, weight=weight, time=time, group=group)
    rows = whole.take(fits & labelled)
    if not len(rows):
        raise DataError(f"none of the {len(y)} rows can be trained on{_first(problems)}")
    return Loaded(
        rows=rows,
        unlabelled=int((~labelled).sum()),
        unfit=int((labelled & ~fits).sum()),
        problems=tuple(problems),
    )


def _unusable(table: Any, column: Column, row: int) -> FieldProblem:
    """The first row without a time or a positive weight."""
    expected = Codec(column).expected.removesuffix(" or null")
    return FieldProblem(
        row=row,
        field=column.name,
        given=shown(table.column(column.name), row),
        expected=f"{expected} above 0" if column.role is Role.WEIGHT else expected,
    )


def _first(problems: Sequence[FieldProblem]) -> str:
    if not problems:
        return ": none has a value in the target column"
    return f"; the first misfit of each column: {RowError(problems)}"


def _groups(table: Any, contract: Contract) -> NDArray[np.int64]:
    """A number for each entity, -1 where the id column is absent or has no value."""
    if contract.id is None or contract.id.name not in table.column_names:
        return np.full(table.num_rows, -1, dtype=np.int64)
    array = table.column(contract.id.name).combine_chunks()
    array = array if hasattr(array, "dictionary") else array.dictionary_encode()
    codec = Codec(contract.id)
    known = [not codec.is_missing(value) for value in array.dictionary.to_pylist()]
    lookup = np.append(np.where(known, np.arange(len(known)), -1), -1)
    indices = array.indices.cast("int64").fill_null(len(known))
    groups: NDArray[np.int64] = lookup[indices.to_numpy(zero_copy_only=False)]
    return groups


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
    from safetensors.numpy import save

    digest = rows.digest
    path = _snapshot(digest, folder)
    if not path.exists():
        arrays = {name: np.ascontiguousarray(getattr(rows, name)) for name in _ARRAYS}
        write_atomically(path, save(arrays))
    return digest


def load_snapshot(digest: str, folder: Path) -> TrainingSet:
    """The rows kept under a digest.

    Raises:
        DataError: there are none, or they were altered.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = _snapshot(digest, folder)
    try:
        arrays = load(path.read_bytes())
        rows = TrainingSet(**{name: arrays[name] for name in _ARRAYS})
    except FileNotFoundError:
        raise DataError(f"no snapshot {path}; train on the data again: gyro train") from None
    except (SafetensorError, KeyError) as error:
        raise DataError(
            f"snapshot {path} is damaged: {error}; train on the data again: gyro train"
        ) from None
    if rows.digest != digest:
        raise DataError(
            f"snapshot {path} was altered: its rows do not have its digest; "
            "train on the data again: gyro train"
        )
    return rows


def _snapshot(digest: str, folder: Path) -> Path:
    return folder / f"{digest}.safetensors"
