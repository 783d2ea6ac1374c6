"""Going through a parsed body, collecting everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from gyroscope.data.codec import kind_of
from gyroscope.errors import FieldProblem, RequestError
from gyroscope.model import Value
from gyroscope.serve.strict_json import Unfit

ClassOf = Callable[[Value], float]  # of a value of the target; raises ValueError with what fits

LONGEST_ID = 128  # characters of a prediction id


class GivenLabel(msgspec.Struct, frozen=True, kw_only=True):
    """One label as a client sends it."""

    prediction_id: str
    label: Value
    time: datetime | None = None  # when the outcome became true, UTC


class ExactReader:
    """Goes through a parsed body and collects everything that is wrong with it."""

    def __init__(self) -> None:
        self._problems: list[FieldProblem] = []  # the request cannot be understood
        self._not_json = False
        self.value_problems: list[FieldProblem] = []  # understood, but no contract can accept it

    def refuse(self) -> None:
        """Raise RequestError if the request cannot be understood."""
        if not self._problems and not self._not_json:
            return
        problems = (*self._problems, *self.value_problems)
        if self._not_json:
            raise RequestError(400, "malformed JSON", problems)
        raise RequestError(422, "the request is not of the right form", problems)

    def fault(self, field: str, value: object, expected: str, row: int | None = None) -> None:
        """Put a fault of the request's form on record."""
        self._problems.append(self._problem(field, value, expected, row))

    def fields_of(
        self, value: object, names: set[str], what: str, row: int | None = None
    ) -> dict[str, Any]:
        """The fields of an object, those of these names; all others are faults."""
        if not isinstance(value, dict):
            self.fault("body" if row is None else "item", value, f"an object {what}", row)
            return {}
        known = ", ".join(sorted(names))
        for name in value:
            if name not in names:
                self.fault(name, value[name], f"no such field; known: {known}", row)
        return {name: value[name] for name in value if name in names}

    def items_of(self, value: object, field: str) -> list[Any]:
        """The items of a list."""
        if isinstance(value, list):
            return value
        self.fault(field, value, "a list of objects")
        return []

    def row(self, i: int, given: object) -> dict[str, Value]:
        """A row, with null for every value that is no plain value."""
        if not isinstance(given, dict):
            self.fault("row", given, "an object of fields", i)
            return {}
        return {name: self._plain(i, name, value) for name, value in given.items()}

    def _plain(self, i: int, name: str, value: Any) -> Value:
        if value is None or isinstance(value, str | int | float | bool):
            return value
        expected = "a text, a number, true, false or null"
        self.value_problems.append(self._problem(name, value, expected, i))
        return None

    def label(self, i: int, item: object, class_of: ClassOf) -> GivenLabel:
        """A label; one that means nothing if there are faults in it."""
        names = {"prediction_id", "label", "time"}
        fields = self.fields_of(item, names, "with prediction_id and label", i)
        if not isinstance(item, dict):
            return GivenLabel(prediction_id="", label=None)
        prediction_id = fields.get("prediction_id", _NOTHING)
        if not isinstance(prediction_id, str) or not 0 < len(prediction_id) <= LONGEST_ID:
            self.fault("prediction_id", prediction_id, "the prediction_id of an answer", i)
        label = fields.get("label", _NOTHING)
        try:
            class_of(label if isinstance(label, str | int | float) else None)
        except ValueError as error:
            self.fault("label", label, str(error).removeprefix("expected "), i)
        return GivenLabel(
            prediction_id=prediction_id, label=label, time=self._time(i, fields.get("time"))
        )

    def _time(self, i: int, given: object) -> datetime | None:
        if given is None:
            return None
        try:
            moment = datetime.fromisoformat(given)  # type: ignore[arg-type]  # says TypeError
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (TypeError, ValueError, OverflowError):
            self.fault("time", given, "a time like 2026-01-31T12:00:00Z", i)
            return None

    def _problem(self, field: str, value: object, expected: str, row: int | None) -> FieldProblem:
        if isinstance(value, Unfit):
            self._not_json |= value.status == 400
            return FieldProblem(row=row, field=field, given=value.given, expected=value.expected)
        return FieldProblem(row=row, field=field, given=_given(value), expected=expected)


class _Nothing:
    """Stands for a field that was not sent."""


_NOTHING = _Nothing()


def _given(value: object) -> str:
    return "nothing" if isinstance(value, _Nothing) else kind_of(value)
