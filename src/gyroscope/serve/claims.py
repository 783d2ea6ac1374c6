"""Which requests were answered, by the key that their clients gave them.

A client that got no answer cannot know whether its request was carried out. It sends the request
again with the same ``Idempotency-Key``, and gets the answer that it would have got. All servers of
one state folder share the claims. They hold no values of rows: identifiers follow from the key,
and scoring the same rows by the same version gives the same bits.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from gyroscope.errors import FieldProblem, LogError, RequestError
from gyroscope.serve.ids import ids_of

HORIZON = timedelta(hours=24)  # for which a repeated key is recognised, at least

_WAIT_S = 1.0  # for another server that writes
_FORGET_EVERY, _FORGET = 64, 128  # after so many claims so many old ones go
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_SCHEMA = """CREATE TABLE IF NOT EXISTS claims (
    key BLOB PRIMARY KEY,
    request BLOB NOT NULL,
    arrival_us INTEGER NOT NULL,
    version INTEGER NOT NULL,
    canary INTEGER,
    percent REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_by_arrival ON claims (arrival_us)"""
_CLAIM = """INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET version = version
RETURNING *"""
_OLDEST = """DELETE FROM claims WHERE key IN (
    SELECT key FROM claims WHERE arrival_us < ? ORDER BY arrival_us LIMIT ?
)"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A key, and the request that was first made with it."""

    key: bytes  # digest of the model and the key
    request: bytes  # digest of the request
    arrival: datetime  # of the first request, UTC
    version: int  # the champion that answers
    canary: int | None = None  # version that answers its share
    percent: float | None = None  # that share

    def ids(self, n: int) -> list[str]:
        """The identifiers of its predictions, the same each time."""
        return ids_of(self.key, self.arrival, n)


def claim_key(model: str, headers: dict[bytes, bytes]) -> bytes | None:
    """The digest of the request's ``Idempotency-Key``; None if it has none.

    Raises:
        RequestError: status 400, the key is not 1 to 255 visible characters of ASCII.
    """
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    if not _KEY.fullmatch(given):
        expected = "1 to 255 visible characters of ASCII"
        problem = FieldProblem(field="Idempotency-Key", given="another text", expected=expected)
        raise RequestError(400, "the Idempotency-Key cannot be used", [problem])
    return hashlib.sha256(model.encode() + b"\0" + given).digest()


class Claims:
    """The claims of all servers of a state folder, in a file; for the event loop's thread.

    A claim is on the disk soon after it was made, not at once: it outlives the process, and may be
    lost with the machine.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / "requests.db"
        self._connection: sqlite3.Connection | None = None
        self._made = 0

    def claim(self, wanted: Claim) -> Claim:
        """Claim a key, unless it is claimed already; the claim that holds.

        Raises:
            LogError: the claims cannot be written.
        """
        served_by = (wanted.version, wanted.canary, wanted.percent)
        values = (wanted.key, wanted.request, _us(wanted.arrival), *served_by)
        try:
            connection = self._opened()
            self._forget(connection, wanted.arrival)
            # One statement: between two another server may forget the claim.
            [found] = connection.execute(_CLAIM, values).fetchall()
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            raise LogError(f"{self._path} cannot be written: {error}") from None
        key, request, arrival_us, version, canary, percent = found
        arrival = _EPOCH + arrival_us * _MICROSECOND
        held = Claim(
            key=key,
            request=request,
            arrival=arrival,
            version=version,
            canary=canary,
            percent=percent,
        )
        return wanted if held == wanted else held

    def close(self) -> None:
        """Give back the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self._path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=OFF")  # see the class
            self._connection.executescript(_SCHEMA)
        return self._connection

    def _forget(self, connection: sqlite3.Connection, now: datetime) -> None:
        """Remove some claims past the horizon, now and then, never many at once."""
        if self._made % _FORGET_EVERY == 0:
            connection.execute(_OLDEST, (_us(now - HORIZON), _FORGET))
        self._made += 1

    def _give_up(self, error: Exception) -> None:
        """Begin anew with the next request; a file spoilt by a crash of the machine is removed."""
        with suppress(sqlite3.Error):
            self.close()
        self._connection = None
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(
            error, sqlite3.OperationalError
        ):
            for ending in ("", "-wal", "-shm"):
                with suppress(OSError):
                    Path(f"{self._path}{ending}").unlink(missing_ok=True)


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
