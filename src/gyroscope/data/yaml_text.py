"""YAML as people write it: one-line mappings, wrapped lists, comments above what they are about."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

WIDTH = 92  # columns of a line before it is moved to the right, where it can be kept

# Texts that every reader of YAML takes for texts; all others are quoted.
_PLAIN = re.compile(r"[^\W\d_][\w .+/()-]*(?<! )|[1-9]\d*[smhdw]")
_NOT_PLAIN = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def scalar(value: str | float | bool | None) -> str:
    """A single value, quoted unless no reader could take it for anything else."""
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.casefold() not in _NOT_PLAIN:
            return value
        return _dumped(value, default_style='"')
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return _dumped(value).removesuffix("...").strip()


def _dumped(value: object, **options: Any) -> str:
    text: str = yaml.safe_dump(value, allow_unicode=True, width=float("inf"), **options)
    return text.strip()


def flow(value: Any) -> str:
    """Any value of JSON on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def field(key: str, value: Any) -> list[str]:
    """``key: value`` on one line, or with a list wrapped."""
    line = f"{scalar(key)}: {flow(value)}"
    if len(line) <= WIDTH or not isinstance(value, list | tuple):
        return [line]
    lines, current = [], f"{scalar(key)}: ["
    for position, item in enumerate(map(flow, value)):
        piece = item + ("]" if position == len(value) - 1 else ",")
        if len(current) + len(piece) >= WIDTH:
            lines.append(current.rstrip())
            current = "  "
        current += piece + " "
    return [*lines, current.rstrip()]


def comment(text: str) -> list[str]:
    """A text as comment lines; what stands in backquotes is not broken."""
    glued = re.sub(r"`[^`]*`", lambda match: match[0].replace(" ", "\xa0"), printable(text))
    lines = textwrap.wrap(glued, WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return [f"# {line}".replace("\xa0", " ") for line in lines]


def printable(text: str) -> str:
    """A text as it may stand in a comment: on one line, without control characters."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def indented(lines: Iterable[str], by: int = 2) -> list[str]:
    """The lines moved to the right."""
    return [" " * by + line if line else line for line in lines]
