"""Which entities a canary serves: a deterministic split by a keyed hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from gyroscope.errors import UsageError

_PLACES = 1 << 64


def checked_percent(percent: float) -> float:
    """Return ``percent`` if it can be the share of a canary; raises UsageError otherwise."""
    if not 0 <= percent <= 100:
        raise UsageError(f"the share of a canary must lie in 0 to 100 percent, got {percent:g}")
    return percent


class Split:
    """The share of the entities of a model that a version serves beside the champion.

    A keyed hash gives each entity a place in [0, 1), uniform and always the same for the same
    model and version; the canary serves those below the share. So an entity that has the canary
    keeps it while the share grows, on every server and after every restart, and the canaries of
    two versions have entities that have nothing to do with each other.

    Args:
        model: name of the model.
        version: of the canary.
        percent: share of the canary, 0 to 100.

    Raises:
        UsageError: a share outside of that.

    Source:
        BLAKE2b with a key: RFC 7693, section 2.9.
    """

    def __init__(self, model: str, version: int, percent: float) -> None:
        key = hashlib.sha256(f"{model}\n{version}".encode()).digest()
        self._hash = hashlib.blake2b(key=key, digest_size=8)
        self._below = round(checked_percent(percent) / 100 * _PLACES)

    def canary_serves(self, entities: Iterable[str]) -> list[bool]:
        """Whether the canary serves each entity; the champion serves the others."""
        return [self._place(entity) < self._below for entity in entities]

    def _place(self, entity: str) -> int:
        hashed = self._hash.copy()
        hashed.update(entity.encode())
        return int.from_bytes(hashed.digest(), "big")
