"""Records as JSON texts, and back."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

Record = TypeVar("Record", bound=msgspec.Struct)


def encoded(record: msgspec.Struct) -> str:
    """The record as JSON with the keys of mappings in order, so that equal records read equal.

    JSON has no infinity and no NaN; they are written as the texts "inf", "-inf" and "nan".
    """
    return msgspec.json.encode(_finite(msgspec.to_builtins(record)), order="deterministic").decode()


def decoded(body: str, kind: type[Record]) -> Record:
    """The record that :func:`encoded` made ``body`` from.

    Fields that a later release added take their defaults, fields it dropped are skipped.
    """
    # Not strict: that is how msgspec reads the text "-inf" into a field that is a float.
    return msgspec.json.decode(body, type=kind, strict=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
