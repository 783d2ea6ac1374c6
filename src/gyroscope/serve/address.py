"""Where the server of a state folder listens."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import msgspec

ADDRESS_FILE = "server.json"


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Where a server listens, as ``server.json`` in the state folder says it."""

    host: str
    port: int
    pid: int
    started: datetime  # UTC


def read_address(state: Path) -> Address | None:
    """Where the server of a state folder listens; None if none does.

    What a killed server left behind does not count.
    """
    try:
        address = msgspec.json.decode((state / ADDRESS_FILE).read_bytes(), type=Address)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return address if _is_alive(address.pid) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # it is somebody else's
    return True
