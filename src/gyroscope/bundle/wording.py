"""One sentence on a prediction: how sure, and which values of the row made it so."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from gyroscope.bundle.base import Vector
from gyroscope.data.cells import ColumnSpec
from gyroscope.data.contract import Column, ColumnType, Contract
from gyroscope.data.profile import ColumnProfile, Profile, quantile
from gyroscope.model import Value

_NAMED = 4  # features at most, of both directions together
_LEAST_SHARE = 0.1  # of all contributions in absolute size, for a feature to be named
_LONGEST_NAME = 60  # characters of a description that is taken for a name
_COUNT = re.compile(r"^(the )?(number|count|no\.) of ", re.IGNORECASE)
_NUMERIC = (ColumnType.NUMBER, ColumnType.INTEGER)


class _Words(msgspec.Struct, frozen=True, kw_only=True):
    """How one column is spoken of."""

    column: Column
    name: str  # from its description, else from its name
    counted: bool  # "5 service calls" rather than "service calls of 5"
    usual: str | None  # median or mode of the training rows; None if they have no value

    def phrase(self, value: Value, x: float) -> str:
        """The value of a row, as sent and as encoded, beside the usual one."""
        if math.isnan(x):
            return f"{self.name} missing{self._beside(None)}"
        shown = _shown(self.column, x, digits=6) or str(value)
        beside = self._beside(_shown(self.column, x, digits=4))
        if self.column.type not in _NUMERIC:
            return f"{self.name} {shown}{beside}"
        if self.counted:
            return f"{shown} {self.name}{beside}"
        unit = f" {self.column.unit}" if self.column.unit else ""
        return f"{self.name} of {shown}{unit}{beside}"

    def _beside(self, shown: str | None) -> str:
        if self.usual is None:
            return ""
        return " (as usual)" if shown == self.usual else f" (usual: {self.usual})"


class Wording:
    """Speaks of rows in the words of the contract, beside what was usual in training."""

    def __init__(self, contract: Contract, columns: Profile) -> None:
        found = {
            spec.name: _usual(spec, profile)
            for spec, profile in zip(columns.spec.columns, columns.columns, strict=True)
        }
        self._words = [_words(column, found.get(column.name)) for column in contract.features]
        self._target = contract.target
        self._usual_class = contract.positive[0] if contract.positive else None

    def sentence(
        self,
        row: Mapping[str, Value],
        x: Vector,
        contributions: Vector,
        *,
        base: float,
        score: float,
        of_class: str | None = None,
    ) -> str:
        """The sentence on one row.

        Args:
            row: as sent; every feature is there.
            x: the same encoded, float64[p].
            contributions: of its features, float64[p], in any space.
            base: the score before anything is known of the row.
            score: probability of the positive class, or of ``of_class``, in [0, 1], or the value.
            of_class: which of several classes is explained.
        """
        name, of_class = _name_in_words(self._target), of_class or self._usual_class
        if of_class is None:
            what, (now, before) = f"Predicted {name}", map(self._value, (score, base))
        else:
            what, (now, before) = f"Probability of {name} {of_class}", map(_percent, (score, base))
        head = f"{what}: {now}, against {before} before anything is known of the row"
        sizes = contributions.tolist()
        named = _largest(sizes)
        parts = []
        for verb, sign in (("raised", 1.0), ("lowered", -1.0)):
            side = [j for j in named if sizes[j] * sign > 0]
            if side:
                whole = sum(size for size in sizes if size * sign > 0)
                part = sum(sizes[j] for j in side)
                mostly = " mostly" if part / whole > 0.5 else ", among others,"
                phrases = [self._phrase(j, row, x) for j in side]
                parts.append(f"{verb}{mostly} by {_listed(phrases)}")
        if score < base:
            parts.reverse()
        return f"{head}: {'; '.join(parts) or 'nothing in it makes a difference'}."

    def _value(self, x: float) -> str:
        """A value of the target with its unit."""
        return f"{_number(x, 4)} {self._target.unit}".rstrip()

    def _phrase(self, j: int, row: Mapping[str, Value], x: Vector) -> str:
        words = self._words[j]
        return words.phrase(row.get(words.column.name), float(x[j]))


def _largest(contributions: Sequence[float]) -> list[int]:
    """The features to name, the largest contribution first."""
    sizes = [abs(size) for size in contributions]
    order = sorted(range(len(sizes)), key=lambda j: -sizes[j])[:_NAMED]
    least = _LEAST_SHARE * sum(sizes)
    return [j for i, j in enumerate(order) if sizes[j] > 0 and (i == 0 or sizes[j] >= least)]


def _words(column: Column, usual: float | None) -> _Words:
    name = _name_in_words(column)
    bare = _COUNT.sub("", name)
    unit = column.unit.lower()
    counted = column.type in _NUMERIC and (
        bare != name or (unit != "" and name.lower().endswith(unit))
    )
    shown = None if usual is None else _shown(column, usual, digits=4)
    return _Words(column=column, name=bare, counted=counted, usual=shown)


def _name_in_words(column: Column) -> str:
    clause = re.split(r"[.;:(,]", column.description, maxsplit=1)[0].strip()
    if 0 < len(clause) <= _LONGEST_NAME:
        return clause if clause[1:2].isupper() else clause[:1].lower() + clause[1:]
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column.name.replace("_", " ")).strip()
    return " ".join(
        word.lower() if word[1:].islower() or len(word) == 1 else word for word in spaced.split()
    )


def _usual(spec: ColumnSpec, profile: ColumnProfile) -> float | None:
    """The median of numbers, the most frequent category; None without a value."""
    if not spec.categorical:
        median = quantile(profile, spec, 0.5)
        if median is None or not spec.edges:
            return median
        # A value that many rows have fills a cell of its own, just as wide as two neighbouring
        # floats: it is that value, not a hair below it.
        nearest = min(spec.edges, key=lambda edge: abs(edge - median))
        close = math.isclose(nearest, median, rel_tol=1e-12, abs_tol=sys.float_info.min)
        return nearest if close else median
    listed = profile.counts[: spec.levels]
    return float(listed.argmax()) if listed.any() else None


def _shown(column: Column, x: float, *, digits: int) -> str:
    """An encoded value for people; empty for a category that is not listed."""
    match column.type:
        case ColumnType.CATEGORY:
            return column.categories[int(x)] if x < len(column.categories) else ""
        case ColumnType.BOOLEAN:
            return "yes" if x else "no"
        case ColumnType.DATETIME:
            moment = datetime.fromtimestamp(x, UTC)
            return moment.strftime("%Y-%m-%d" if x % 86400 == 0 else "%Y-%m-%d %H:%M")
    return _number(round(x) if column.type is ColumnType.INTEGER else x, digits)


def _number(x: float, digits: int) -> str:
    if x == 0 or not 1e-4 <= abs(x) < 1e15:
        return f"{x:.{digits}g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(x))))
    text = f"{x:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _percent(p: float) -> str:
    """A probability in percent, with more digits the nearer it is to sure."""
    rarer = min(p, 1 - p)
    decimals = 0 if rarer >= 0.1 else 1 if rarer >= 0.001 else 3
    return f"{100 * p:.{decimals}f} %"


def _listed(phrases: Sequence[str]) -> str:
    *most, last = phrases
    return f"{', '.join(most)} and {last}" if most else last
