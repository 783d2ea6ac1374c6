"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import hashlib
import os
import time
from datetime import datetime
from functools import lru_cache

_DRAWN_AT_ONCE = 256
_RANDOM_BYTES = 9  # of an identifier
_BYTES = [f"{byte:02x}" for byte in range(256)]
_random_digits: list[str] = []  # for each request to come; pop and extend are atomic
os.register_at_fork(after_in_child=_random_digits.clear)


def time_sorted_ids(n: int) -> list[str]:
    """Return ``n`` new UUIDs of version 7 (RFC 9562, section 5.7), ascending.

    48 bits of Unix time in milliseconds, then 72 random bits; the last ones of a call count up, so
    that the rows of one request keep their order. Needs no state, so any thread may call it.
    """
    return _ids(n, time.time_ns() // 1_000_000, _drawn_digits())


def ids_of(secret: bytes, moment: datetime, n: int) -> list[str]:
    """The same ``n`` identifiers each time for the same ``secret`` and ``moment``, ascending.

    Of the form of :func:`time_sorted_ids`, with a digest where that has random bits.
    """
    digest = hashlib.blake2b(secret, digest_size=_RANDOM_BYTES).hexdigest()
    return _ids(n, round(moment.timestamp() * 1000), digest)


def _drawn_digits() -> str:
    """Random hexadecimal digits; asking the system for many at once costs as much as for these."""
    while True:
        try:
            return _random_digits.pop()
        except IndexError:
            drawn, size = os.urandom(_RANDOM_BYTES * _DRAWN_AT_ONCE).hex(), 2 * _RANDOM_BYTES
            _random_digits.extend([drawn[i : i + size] for i in range(0, len(drawn), size)])


@lru_cache(maxsize=1)  # under load there are several in a millisecond
def _beginning(time_ms: int) -> str:
    moment = f"{time_ms:012x}"
    return f"{moment[:8]}-{moment[8:]}-7"


def _ids(n: int, time_ms: int, random: str) -> list[str]:
    prefix = f"{_beginning(time_ms)}{random[:3]}-"
    # variant bits 10, then two zeros as headroom for counting up, then 60 random bits
    if n == 1:
        return [f"{prefix}8{random[3:6]}-{random[6:]}"]
    first = int("8" + random[3:], 16)
    ids: list[str] = []
    while len(ids) < n:  # up to 256 that differ in their last byte alone
        number = first + len(ids)
        digits, last = f"{number >> 8:014x}", number & 0xFF
        head = f"{prefix}{digits[:4]}-{digits[4:]}"
        ids += [head + byte for byte in _BYTES[last : last + n - len(ids)]]
    return ids
