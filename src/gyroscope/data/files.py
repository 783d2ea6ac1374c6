"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Make or replace a file in one step; its folder is made if need be.

    A reader sees the old content or the new, also when the process or the machine dies meanwhile
    and when several processes write at once. Raises OSError and leaves nothing behind if the file
    cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def sync_tree(folder: Path, *, above: int = 0) -> None:
    """Make all files in a folder, and their names, survive a power failure; raises OSError.

    Args:
        folder: whose files have been written, with the folders in it.
        above: how many folders above it may be new as well.
    """
    for path in (*folder.rglob("*"), folder, *folder.parents[:above]):
        sync_path(path)


def sync_path(path: Path) -> None:
    """Make a file, or new names in a folder, survive a power failure; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
