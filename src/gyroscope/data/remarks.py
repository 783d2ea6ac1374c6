"""What inference has to say about a column: what it guessed, why, and how to change it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Literal

import msgspec


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """One thing a person should know about a guess before training on it."""

    column: str  # empty if it is about the table
    level: Literal["note", "warning"]
    kind: str  # e.g. "id-like", "leak"
    message: str  # a plain sentence: what was guessed and why
    advice: str = ""  # a plain sentence: when and how to change it in gyroscope.yaml


def name_words(name: str) -> frozenset[str]:
    """The words in a column name, in lower case: ``customerID`` has ``customer`` and ``id``."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return frozenset(word.casefold() for word in re.split(r"[\W_]+", split) if word)


def counted(n: int, noun: str) -> str:
    """A number with its noun: ``1 row``, ``12,000 rows``."""
    return f"{n:,} {noun}" + ("" if n == 1 else "s")


def are(n: int) -> str:
    """The verb after :func:`counted`."""
    return "is" if n == 1 else "are"


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage, with decimals where they tell it from 0 and 100."""
    near = min(share, 1 - share)
    if near >= 0.1 or near == 0:
        return f"{100 * share:.0f} %"
    return f"{100 * share:.1f} %" if near >= 0.001 else f"{100 * share:.2g} %"


def quoted(values: list[str], limit: int = 5) -> str:
    """Some values in quotes, shortened, and how many more there are."""
    shown = ", ".join(repr(v if len(v) <= 30 else v[:27] + "...") for v in values[:limit])
    return shown + (f" and {len(values) - limit:,} more" if len(values) > limit else "")


def nearest(name: str, names: Sequence[str]) -> str:
    """What somebody may have meant who named a column that the data do not have."""
    folded = {known.casefold(): known for known in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)
    if near:
        return f"did you mean {' or '.join(repr(folded[text]) for text in near)}?"
    return f"they have {quoted(list(names), 20)}"
