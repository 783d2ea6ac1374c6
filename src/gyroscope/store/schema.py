"""The version of the schema in a database: looked at, backed up, brought up to date."""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, column, inspect, select, table

from gyroscope.errors import GyroscopeError
from gyroscope.store.engine import use_write_ahead_log

MIGRATIONS = Path(__file__).with_name("migrations")

_alembic_version = table("alembic_version", column("version_num"))


def revisions() -> list[str]:
    """All versions of the schema that this release knows, oldest first, e.g. ``["0001"]``."""
    # By file name, schema_0001_what_it_does.py: importing Alembic to ask it takes 0.4 s.
    return sorted(path.stem.split("_")[1] for path in MIGRATIONS.glob("versions/schema_*.py"))


def revision(engine: Engine) -> str | None:
    """The version of the schema in the database; None if it has none."""
    with engine.connect() as connection:
        if not inspect(connection).has_table(_alembic_version.name):
            return None
        return connection.execute(select(_alembic_version.c.version_num)).scalar_one_or_none()


def bring_up_to_date(engine: Engine, path: Path) -> None:
    """Upgrade the SQLite database at ``path``, or make it, unless it is up to date.

    An existing database is first copied to ``NAME.schema-VERSION.TIME.backup`` beside it. Of
    several processes that come at the same moment one upgrades and the others wait.

    Raises:
        GyroscopeError: the database was made by a newer release, or by another program.
    """
    if revision(engine) == revisions()[-1]:
        return
    with _locked(path.with_name(f"{path.name}.lock")):
        found = revision(engine)
        if found == revisions()[-1]:
            return
        _check(engine, found, path)
        if found is not None:
            _back_up(path, found)
        use_write_ahead_log(engine)
        _upgrade(engine)


def _check(engine: Engine, found: str | None, path: Path) -> None:
    if found is None and inspect(engine).get_table_names():
        raise GyroscopeError(
            f"{path} is a database of another program, not a control store; name another file"
        )
    if found is not None and found not in revisions():
        raise GyroscopeError(
            f"{path} has schema {found}, this release knows schemas up to {revisions()[-1]}: "
            "upgrade gyroscope-ml, or go back to the backup made beside it before the upgrade"
        )


def _upgrade(engine: Engine) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    # Config takes % for the start of an interpolation.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _back_up(path: Path, found: str) -> None:
    name = f"{path.name}.schema-{found}.{datetime.now(UTC):%Y%m%dT%H%M%SZ}.backup"
    partial = path.with_name(f"{name}.partial")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(partial)) as copy:
        source.backup(copy)
    partial.replace(path.with_name(name))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, or at death
        yield
