"""Rows as tuples are the rows that they stand for."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.encoder import Encoder
from gyroscope.data.plain_rows import PlainForm, PlainRows

FORM = PlainForm(
    {"size": int | None, "a:b": str, "größe": float}, {"day": str | None, "sex": str | None}
)
READ = msgspec.json.Decoder(list[FORM.type])  # type: ignore[name-defined]

texts = st.text(max_size=3) | st.sampled_from([":", "12:30:00"])
ROWS = st.lists(
    st.fixed_dictionaries(
        {"size": st.none() | st.integers(-9, 9), "a:b": texts, "größe": st.floats(0, 1)},
        optional={"day": st.none() | texts, "sex": st.none() | texts},
    ),
    max_size=4,
)


def read(rows: list[dict[str, Any]]) -> PlainRows:
    return FORM.rows(READ.decode(json.dumps(rows).encode()))


@given(rows=ROWS)
def test_rows_are_the_mappings_that_were_sent(rows: list[dict[str, Any]]) -> None:
    plain = read(rows)
    assert plain == rows
    assert plain[1:] == rows[1:]
    assert plain.take([0] * len(rows)) == rows[:1] * len(rows)
    for name in ("size", "day", "no such field"):
        assert plain.column(name) == [row.get(name) for row in rows]


@given(rows=ROWS)
def test_fields_and_colons_are_counted_as_they_were_sent(rows: list[dict[str, Any]]) -> None:
    plain = read(rows)
    fields = [field for row in rows for field in row.items()]
    assert plain.n_fields == len(fields)
    within = [text for field in fields for text in field if isinstance(text, str)]
    assert plain.n_colons == "".join(within).count(":")


@pytest.mark.parametrize(
    "body", ['[{"size": 1}]', '[{"size": 1, "a:b": "", "größe": 0.5, "": 1}]', '[{"größe": "1"}]']
)
def test_rows_of_another_form_are_not_decoded(body: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        READ.decode(body.encode())


def encoder(name: str) -> Encoder:
    columns = (
        Column(name=name, type=ColumnType.NUMBER),
        Column(name="at", type=ColumnType.DATETIME, role=Role.TIME),
        Column(name="sex", type=ColumnType.CATEGORY, role=Role.SENSITIVE, categories=("f", "m")),
        Column(name="y", type=ColumnType.CATEGORY, role=Role.TARGET),
    )
    return Encoder(Contract(columns=columns, positive=("1",), negative=("0",)))


@given(rows=st.lists(st.fixed_dictionaries({"x": st.floats(0, 1)}, optional={
    "sex": st.sampled_from(["f", "m", None]), "at": st.just("2026-01-01T00:00:00Z")})))  # fmt: skip
def test_what_is_logged_of_a_row_does_not_depend_on_how_it_was_read(
    rows: list[dict[str, Any]],
) -> None:
    one = encoder("x")
    form = one.plain_form
    assert form is not None
    plain = form.rows(msgspec.json.decode(json.dumps(rows).encode(), type=list[form.type]))  # type: ignore[name-defined]
    assert one.logged_rows(plain) == one.logged_rows(rows) == [one.logged(row) for row in rows]
    assert encoder("x").logged_rows(plain) == one.logged_rows(rows)  # of another contract
    assert one.event_times(plain) == one.event_times(rows)


@pytest.mark.parametrize("name", ['"', "\\", "a\nb", "\ud800"])
def test_a_name_that_json_has_to_escape_has_no_such_form(name: str) -> None:
    assert encoder(name).plain_form is None
