"""Which requests were answered, by the key that their clients gave them.

A client that got no answer cannot know whether its request was carried out. It sends the request
again with the same ``Idempotency-Key``, and gets the answer that it would have got. All servers of
one state folder share the claims. They hold no values of rows: identifiers follow from the key,
and scoring the same rows by the same version gives the same bits.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from gyroscope.errors import FieldProblem, LogError, RequestError, UnwritableError
from gyroscope.prediction_log.spool import make_private
from gyroscope.serve.http import IDEMPOTENCY_KEY
from gyroscope.serve.ids import ids_of
from gyroscope.serve.turns import Turns

HORIZON = timedelta(hours=24)  # for which a repeated key is recognised, at least

_NAME = "requests.db"
_WAIT_S = 1.0  # for another server that writes
_FORGET_EVERY, _FORGET = 64, 128  # after so many claims so many old ones go
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")
_SCHEMA = """CREATE TABLE IF NOT EXISTS claims (
    key BLOB PRIMARY KEY,
    request BLOB NOT NULL,
    arrival_us INTEGER NOT NULL,
    version INTEGER NOT NULL,
    canary INTEGER,
    percent REAL,
    bundle TEXT,
    canary_bundle TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_by_arrival ON claims (arrival_us)"""
_ADDED = (  # columns that files of earlier releases lack
    ("canary", "INTEGER"),
    ("percent", "REAL"),
    ("bundle", "TEXT"),
    ("canary_bundle", "TEXT"),
)
_COLUMNS = "key, request, arrival_us, version, canary, percent, bundle, canary_bundle"
_HELD = f"SELECT {_COLUMNS} FROM claims WHERE key = ?"
_MADE = f"INSERT INTO claims ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_OLDEST = """DELETE FROM claims WHERE key IN (
    SELECT key FROM claims WHERE arrival_us < ? ORDER BY arrival_us LIMIT ?
)"""
_SPOILT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
_UNWRITABLE = (*_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_PRIMARY = 0xFF  # the bits of an extended error code that say its kind
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_Inode = tuple[int, int]  # of a device, and on it

_T = TypeVar("_T")


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A key, and the request that was first made with it."""

    key: bytes  # digest of the model and the key
    request: bytes  # digest of the request
    arrival: datetime  # of the first request, UTC
    version: int  # the champion that answers
    canary: int | None = None  # version that answers its share
    percent: float | None = None  # that share
    bundle: str | None = None  # absolute path of the champion's; of claims made earlier not known
    canary_bundle: str | None = None

    def ids(self, n: int) -> list[str]:
        """The identifiers of its predictions, the same each time."""
        return ids_of(self.key, self.arrival, n)


def claim_key(model: str, headers: dict[bytes, bytes]) -> bytes | None:
    """The digest of the request's ``Idempotency-Key``; None if it has none.

    Raises:
        RequestError: status 400, the key is not 1 to 255 visible characters of ASCII.
    """
    given = headers.get(IDEMPOTENCY_KEY)
    if given is None:
        return None
    if not _KEY.fullmatch(given):
        expected = "1 to 255 visible characters of ASCII"
        problem = FieldProblem(field="Idempotency-Key", given="another text", expected=expected)
        raise RequestError(400, "the Idempotency-Key cannot be used", [problem])
    return hashlib.sha256(model.encode() + b"\0" + given).digest()


class Claims:
    """The claims of all servers of a state folder, in a file; for the tasks of the event loop.

    A claim is on the disk soon after it was made, not at once: it outlives the process, and may be
    lost with the machine. Whoever looks for one or makes one must have the turn of its key.

    Args:
        state: the folder with the file.
        aside: a folder, best on another disk, with a file for claims that this one cannot take.
            They hold on when it can again.
    """

    def __init__(self, state: Path, aside: Path | None = None) -> None:
        self._home = _File(state / _NAME, partial(Path.mkdir, parents=True, exist_ok=True))
        self._aside = None if aside is None else _File(aside / _NAME, make_private)
        self._turns = Turns(state / "requests.lock")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="claims")

    def turn(self, key: bytes) -> AbstractAsyncContextManager[None]:
        """Be alone with a key for a block, as :meth:`~gyroscope.serve.turns.Turns.of` says."""
        return self._turns.of(key)

    async def held(self, key: bytes) -> Claim | None:
        """The claim of a key, None if there is none; raises LogError if it cannot be read."""
        return await self._do(partial(self._find, key))

    async def make(self, claim: Claim) -> None:
        """Claim a key that is not claimed; raises LogError if the claim cannot be written."""
        await self._do(partial(self._make, claim))

    def close(self) -> None:
        """Give back files and the thread."""
        self._thread.shutdown()
        self._home.close()
        if self._aside is not None:
            self._aside.close()
        self._turns.close()

    async def _do(self, work: Callable[[], _T]) -> _T:
        """Work on the files in the one thread that does, so that nobody else waits for the disk."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _find(self, key: bytes) -> Claim | None:
        if self._aside is None:
            return self._home.find(key)
        found = None if self._home.is_unmade() else self._home.find(key)
        if found is None and not self._aside.is_unmade():
            found = self._aside.find(key)
        return found

    def _make(self, claim: Claim) -> None:
        try:
            self._home.insert(claim)
        except UnwritableError:
            if self._aside is None:
                raise
            self._aside.insert(claim)


class _File:
    """Claims in one file; for one thread."""

    def __init__(self, path: Path, make_folder: Callable[[Path], None]) -> None:
        self._path, self._make_folder = path, make_folder
        self._connection: sqlite3.Connection | None = None
        self._inode: _Inode | None = None  # of the file that is open
        self._made = 0

    def is_unmade(self) -> bool:
        """Whether no claim was ever made there."""
        try:
            return self._path.stat().st_size == 0
        except FileNotFoundError:
            return True
        except OSError:
            return False  # nobody knows

    def find(self, key: bytes) -> Claim | None:
        """The claim of a key, None if there is none; raises LogError."""
        return self._try(partial(self._find, key))

    def insert(self, claim: Claim) -> None:
        """Add a claim; raises LogError, UnwritableError if it is the disk that takes nothing."""
        self._try(partial(self._insert, claim))

    def close(self) -> None:
        """Give back the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return work(self._opened())
        except (sqlite3.Error, OSError) as error:
            self._give_up(error)
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & _PRIMARY
            kind = UnwritableError if code in _UNWRITABLE else LogError
            raise kind(f"{self._path} cannot be used: {error}") from None

    def _find(self, key: bytes, connection: sqlite3.Connection) -> Claim | None:
        found = connection.execute(_HELD, (key,)).fetchone()
        if found is None:
            return None
        key, request, arrival_us, version, canary, percent, bundle, canary_bundle = found
        return Claim(
            key=key,
            request=request,
            arrival=_EPOCH + arrival_us * _MICROSECOND,
            version=version,
            canary=canary,
            percent=percent,
            bundle=bundle,
            canary_bundle=canary_bundle,
        )

    def _insert(self, claim: Claim, connection: sqlite3.Connection) -> None:
        self._forget(connection, claim.arrival)
        served_by = (claim.version, claim.canary, claim.percent, claim.bundle, claim.canary_bundle)
        connection.execute(_MADE, (claim.key, claim.request, _us(claim.arrival), *served_by))

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and self._inode != _inode(self._path):
            self.close()  # another server found the file spoilt and began another
        if self._connection is None:
            self._make_folder(self._path.parent)
            connection = sqlite3.connect(
                self._path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
            self._inode = _inode(self._path)
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=OFF")  # see Claims
                connection.executescript(_SCHEMA)
                _upgrade(connection)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _forget(self, connection: sqlite3.Connection, now: datetime) -> None:
        """Remove some claims past the horizon, now and then, never many at once."""
        if self._made % _FORGET_EVERY == 0:
            connection.execute(_OLDEST, (_us(now - HORIZON), _FORGET))
        self._made += 1

    def _give_up(self, error: Exception) -> None:
        """Begin anew with the next request; a file spoilt by a crash of the machine is removed.

        One that only takes nothing stays open: it can be read, and might not be opened again.
        """
        if getattr(error, "sqlite_errorcode", None) in _FULL:
            return
        with suppress(sqlite3.Error):
            self.close()
        self._connection = None
        spoilt = getattr(error, "sqlite_errorcode", None) in _SPOILT
        if spoilt and self._inode == _inode(self._path):  # not what another server made since
            for ending in ("", "-wal", "-shm"):
                with suppress(OSError):
                    Path(f"{self._path}{ending}").unlink(missing_ok=True)


def _inode(path: Path) -> _Inode | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _upgrade(connection: sqlite3.Connection) -> None:
    """Add what a file of an earlier release lacks; its claims hold on."""
    if _columns_of(connection).issuperset(name for name, _ in _ADDED):
        return  # without a write, which a disk may not take
    with connection:
        connection.execute("BEGIN IMMEDIATE")  # one server at a time
        there = _columns_of(connection)
        for name, kind in _ADDED:
            if name not in there:
                connection.execute(f"ALTER TABLE claims ADD COLUMN {name} {kind}")


def _columns_of(connection: sqlite3.Connection) -> set[str]:
    return {column[1] for column in connection.execute("PRAGMA table_info(claims)")}


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
