"""Erasing all that a log holds of one subject, so that no byte of it stays in any file.

The order is written down first and stays until all is done, so that one cut short by a kill is
completed later. What remains on record is when, and how many rows, never whose.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gyroscope.data.files import sync_path, write_atomically
from gyroscope.errors import LogError
from gyroscope.prediction_log.compaction import (
    PartWriter,
    compact,
    description_of,
    remove_part,
    tables_of,
)
from gyroscope.prediction_log.parts import Part, list_parts
from gyroscope.prediction_log.table import LABELS, PREDICTIONS, Kind
from gyroscope.prediction_log.writer import make_folder

if TYPE_CHECKING:
    import pyarrow as pa

_ORDER, _RECORD = "erasing.json", "erasures.jsonl"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be erased; removed once it is."""

    subject: str  # id of a prediction, or of whom predictions are about
    predictions: int = 0  # rows erased so far
    labels: int = 0


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What was erased."""

    at: datetime  # UTC
    predictions: int
    labels: int


def order_erasure(folder: Path, subject: str) -> None:
    """Write down that all of a subject is to be erased; on disk when it returns.

    Raises:
        LogError: it cannot be written, or another erasure is not complete yet.
    """
    if _order(folder) not in (None, Order(subject=subject)):
        raise LogError(
            f"another erasure in {folder} is not complete yet: complete it with gyro log compact"
        )
    try:
        make_folder(folder)
        write_atomically(folder / _ORDER, msgspec.json.encode(Order(subject=subject)))
        sync_path(folder)
    except OSError as error:
        raise LogError(f"nothing was erased, {folder} cannot be written: {error}") from error


def complete_erasure(folder: Path, spool: Path | None = None) -> Erasure | None:
    """Erase what was ordered; None if nothing was.

    Removed are all predictions with that id or about that entity, and all labels for them, as they
    were logged until now. One process at a time may do that for a folder, as with compaction;
    writers and readers go on meanwhile. The spool of the log is carried home first.

    Raises:
        LogError: a file cannot be read or written; call again, it goes on from there.
    """
    order = _order(folder)
    if order is None:
        return None
    if compact(folder, spool=spool, damaged_too=True).left:
        raise LogError(f"a segment in {folder} is being written all the time: try again")
    try:
        # Labels first: which ones they are, the predictions tell.
        subject = order.subject
        ids = _ids(folder, subject)
        order = _erase(folder, order, LABELS, lambda table: _among(table, "prediction_id", ids))
        order = _erase(folder, order, PREDICTIONS, lambda table: _is_of(table, subject))
        erasure = Erasure(at=datetime.now(UTC), predictions=order.predictions, labels=order.labels)
        _add_to_record(folder, erasure)
        (folder / _ORDER).unlink()
        for path in folder.glob(f".{_ORDER}.*"):  # what a killed process was writing
            path.unlink()
        sync_path(folder)
    except OSError as error:
        raise LogError(
            f"the erasure in {folder} is not complete ({error}): see that its disk has space and "
            "may be written, then complete it with gyro log compact"
        ) from error
    return erasure


def erasures(folder: Path) -> list[Erasure]:
    """All erasures so far, the oldest first."""
    try:
        lines = (folder / _RECORD).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    return [msgspec.json.decode(line, type=Erasure) for line in lines]


def _order(folder: Path) -> Order | None:
    try:
        return msgspec.json.decode((folder / _ORDER).read_bytes(), type=Order)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise LogError(
            f"the order of an erasure, {folder / _ORDER}, cannot be read: {error}"
        ) from None


def _erase(
    folder: Path, order: Order, kind: Kind[Any], is_erased: Callable[[pa.Table], pa.ChunkedArray]
) -> Order:
    """Remove rows from all Parquet files of a kind, and count them in the order."""
    for part in list_parts(folder):
        if part.kind is kind and (n := _erase_from(part, is_erased)):
            order = msgspec.structs.replace(order, **{kind.name: getattr(order, kind.name) + n})
            write_atomically(folder / _ORDER, msgspec.json.encode(order))
    return order


def _erase_from(part: Part, is_erased: Callable[[pa.Table], pa.ChunkedArray]) -> int:
    """Write a Parquet file without some rows, unless it has none of them; how many they were."""
    import pyarrow.compute as pc

    n: int = sum(pc.sum(is_erased(table)).as_py() or 0 for table in tables_of(part))
    if not n:
        return 0
    with PartWriter(part.path, part.kind, description_of(part)) as writer:
        for table in tables_of(part):
            writer.add(table.filter(pc.invert(is_erased(table))))
        if writer.rows:
            writer.commit()
            return n
    remove_part(part)
    return n


def _ids(folder: Path, subject: str) -> list[str]:
    """The ids of a subject's predictions."""
    ids = {subject}  # labels may be there whose prediction is not
    for part in list_parts(folder):
        if part.kind is PREDICTIONS:
            for table in tables_of(part, ["id", "entity"]):
                ids.update(table.filter(_is_of(table, subject)).column("id").to_pylist())
    return sorted(ids)


def _is_of(table: pa.Table, subject: str) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    about = pc.fill_null(pc.equal(table.column("entity"), subject), False)
    return pc.or_(about, pc.equal(table.column("id"), subject))


def _among(table: pa.Table, column: str, ids: list[str]) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.is_in(table.column(column), pa.array(ids, pa.string()))


def _add_to_record(folder: Path, erasure: Erasure) -> None:
    path = folder / _RECORD
    before = path.read_bytes() if path.exists() else b""
    write_atomically(path, before + msgspec.json.encode(erasure) + b"\n")
