"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import os
import time


def time_sorted_ids(n: int) -> list[str]:
    """Return ``n`` new UUIDs of version 7 (RFC 9562, section 5.7), ascending.

    48 bits of Unix time in milliseconds, then 72 random bits; the last ones of a call count up, so
    that the rows of one request keep their order. Needs no state, so any thread may call it.
    """
    time_ms, random = f"{time.time_ns() // 1_000_000:012x}", os.urandom(9).hex()
    prefix = f"{time_ms[:8]}-{time_ms[8:]}-7{random[:3]}-"
    # variant bits 10, then two zeros as headroom for counting up, then 60 random bits
    first = int("8" + random[3:], 16)
    tails = [f"{first + i:016x}" for i in range(n)]
    return [f"{prefix}{tail[:4]}-{tail[4:]}" for tail in tails]
