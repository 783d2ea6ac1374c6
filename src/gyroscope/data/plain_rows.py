"""Rows that a JSON decoder has found plain: a tuple for each, where a dictionary costs more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import msgspec
from msgspec import UNSET, UnsetType

from gyroscope.model import Value

Row = Mapping[str, Value]
Values = tuple[Value | UnsetType, ...]  # of a row; unset for a field that was not sent


class PlainForm:
    """The fields of such rows.

    Args:
        required: names of the fields that each row has, with the msgspec types of their values.
        optional: of those that a row may have.

    Raises:
        ValueError: a name that msgspec has to see escaped.
    """

    def __init__(self, required: Mapping[str, Any], optional: Mapping[str, Any]) -> None:
        self.names = (*required, *optional)
        self.n_required = len(required)
        self.place = {name: j for j, name in enumerate(self.names)}
        fields: list[Any] = [(f"f{j}", kind) for j, kind in enumerate(required.values())]
        fields += [
            (f"f{j}", kind | UnsetType, UNSET)
            for j, kind in enumerate(optional.values(), start=len(required))
        ]
        # For msgspec to decode; names are free, those of attributes are not.
        self.type: Any = msgspec.defstruct(
            "PlainRow",
            fields,
            rename={f"f{j}": name for j, name in enumerate(self.names)},
            forbid_unknown_fields=True,
            gc=False,  # there is nothing in a row that could refer to it
        )

    def rows(self, decoded: Iterable[Any]) -> PlainRows:
        """The rows decoded as :attr:`type`."""
        return PlainRows(self, list(map(msgspec.structs.astuple, decoded)))


class PlainRows(Sequence[Row]):
    """Rows of one form. Each is a mapping, made when it is asked for."""

    __slots__ = ("form", "values")

    def __init__(self, form: PlainForm, values: list[Values]) -> None:
        self.form, self.values = form, values

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, i: int) -> dict[str, Value]: ...
    @overload
    def __getitem__(self, i: slice) -> PlainRows: ...
    def __getitem__(self, i: int | slice) -> dict[str, Value] | PlainRows:
        if isinstance(i, slice):
            return PlainRows(self.form, self.values[i])
        fields = zip(self.form.names, self.values[i], strict=True)
        return {name: value for name, value in fields if value is not UNSET}

    def __eq__(self, other: object) -> bool:
        return list(self) == other

    __hash__ = None  # type: ignore[assignment]

    def take(self, places: Iterable[int]) -> PlainRows:
        """Only some of the rows."""
        return PlainRows(self.form, [self.values[i] for i in places])

    def column(self, name: str) -> list[Value]:
        """The values of a field; None where it was not sent."""
        j = self.form.place.get(name)
        if j is None:  # the form of another version
            return [None] * len(self.values)
        return [None if row[j] is UNSET else row[j] for row in self.values]  # type: ignore[misc]

    @property
    def n_fields(self) -> int:
        """Fields of all rows together."""
        first, width = self.form.n_required, len(self.form.names)
        unset = 0 if first == width else sum(row[first:].count(UNSET) for row in self.values)
        return len(self.values) * width - unset

    @property
    def n_colons(self) -> int:
        """Colons in the names and texts of all rows."""
        colons = sum(v.count(":") for row in self.values for v in row if isinstance(v, str))
        for j, name in enumerate(self.form.names):
            if ":" in name:
                colons += name.count(":") * sum(row[j] is not UNSET for row in self.values)
        return colons
