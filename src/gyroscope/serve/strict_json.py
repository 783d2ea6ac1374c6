"""Exact reading of JSON bodies: says which field is at fault where a fast decoder only says no.

A body must be I-JSON (RFC 7493): UTF-8, every name once in its object, no NaN or infinity, no
half surrogate pairs. Python's parser is more lenient, so each of these is looked for here.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from gyroscope.data.codec import EXACT_INTEGERS, kind_of
from gyroscope.errors import RequestError

_HALF_PAIR = re.compile("[\ud800-\udfff]")
_LONGEST_INTEGER = len(str(-EXACT_INTEGERS))


class Unfit(msgspec.Struct, frozen=True, kw_only=True):
    """Stands in a parsed body where a value was that cannot be used."""

    status: int  # 400: not I-JSON at all; 422: well formed, but no such value is possible
    given: str
    expected: str


def parse_json(body: bytes) -> Any:
    """Parse a body, with :class:`Unfit` in the place of every value that cannot be used.

    Raises:
        RequestError: status 400, the body is not JSON; the message gives the byte position.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RequestError(400, f"the body is not UTF-8: wrong byte at {error.start}") from None
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_not_finite,
            parse_float=_float,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        position = len(text[: error.pos].encode())
        raise RequestError(400, f"malformed JSON at byte {position}: {error.msg}") from None
    except RecursionError:
        raise RequestError(400, "the body is nested too deeply: rows hold plain values") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if _HALF_PAIR.search(name):
            raise RequestError(400, "the name of a field holds half of a surrogate pair")
        if name in fields:
            fields[name] = Unfit(status=400, given="the field twice", expected="each field once")
        elif isinstance(value, str) and _HALF_PAIR.search(value):
            fields[name] = Unfit(
                status=400, given="half of a surrogate pair", expected="text in Unicode"
            )
        else:
            fields[name] = value
    return fields


def _not_finite(literal: str) -> Unfit:
    return Unfit(status=400, given=kind_of(math.inf), expected="a finite number")


def _float(literal: str) -> float | Unfit:
    number = float(literal)
    return number if math.isfinite(number) else _not_finite(literal)


def _integer(literal: str) -> int | Unfit:
    if len(literal) <= _LONGEST_INTEGER and abs(int(literal)) <= EXACT_INTEGERS:
        return int(literal)
    return Unfit(
        status=422,
        given="a larger number",
        expected="a number within 2**53 (9007199254740992); send longer identifiers as text",
    )
