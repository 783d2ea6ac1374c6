"""One row, four ways into the model: as JSON, as text, as a typed table, and out of the log."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.encoder import Encoder
from gyroscope.data.rows import json_rows
from gyroscope.errors import ContractError, DataError, RowError

CONTRACT = Contract(
    columns=(
        Column(name="amount", type=ColumnType.NUMBER, nullable=True, missing=("?",)),
        Column(name="age", type=ColumnType.INTEGER, limits=(0, None)),
        Column(name="plan", type=ColumnType.CATEGORY, categories=("basic", "Plus: 7", "1.5")),
        Column(
            name="town", type=ColumnType.CATEGORY, categories=("Ulm",), unknown="other",
            nullable=True,
        ),
        Column(name="active", type=ColumnType.BOOLEAN, true=("yes",), false=("no",)),
        Column(name="joined", type=ColumnType.DATETIME, nullable=True),
        Column(name="at", type=ColumnType.DATETIME, role=Role.TIME, nullable=True, missing=("?",)),
        Column(name="who", type=ColumnType.TEXT, role=Role.ID, missing=("-",)),
        Column(name="sex", type=ColumnType.CATEGORY, role=Role.SENSITIVE, categories=("f", "m")),
        Column(name="heft", type=ColumnType.NUMBER, role=Role.WEIGHT),
        Column(name="note", type=ColumnType.TEXT, role=Role.IGNORED),
        Column(name="churned", type=ColumnType.CATEGORY, role=Role.TARGET, missing=("?",)),
    ),
    positive=("1",),
    negative=("0", "never"),
)  # fmt: skip
ENCODER = Encoder(CONTRACT)
ROW: dict[str, Any] = {
    "amount": 1.5, "age": 41, "plan": "basic", "town": "Ulm", "active": True, "joined": None
}  # fmt: skip
TYPES = {
    "amount": pa.float64(),
    "age": pa.int64(),
    "plan": pa.dictionary(pa.int8(), pa.string()),
    "town": pa.large_string(),
    "active": pa.bool_(),
    "joined": pa.timestamp("us", "Europe/Berlin"),
}


class Cell(NamedTuple):
    """A value as each source writes it."""

    json: Any
    text: str
    typed: Any


NOTHING = Cell(None, "", None)
floats = st.floats(allow_nan=False, allow_infinity=False)
zones = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
moments = st.datetimes(timezones=zones).filter(lambda moment: 1 < moment.year < 9999)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1).filter(
    lambda text: text.strip() not in ("", "?")
)
spaces = st.sampled_from(["", " ", "  ", "\u00a0"])


def padded(text: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(spaces, text, spaces).map("".join)


plans = st.sampled_from(["basic", "Plus: 7", "1.5", "basically"])
cells = st.fixed_dictionaries(
    {
        "amount": floats.map(lambda x: Cell(x, repr(x), x)) | st.just(NOTHING),
        "age": st.integers(-5, 2**53 - 1).map(lambda k: Cell(k, str(k), k)),
        "plan": padded(plans).map(lambda t: Cell(t, t, t)) | st.just(NOTHING),
        "town": padded(texts | st.just("Ulm")).map(lambda t: Cell(t, t, t)) | st.just(NOTHING),
        "active": st.booleans().map(lambda b: Cell(b, "Yes" if b else "no ", b)),
        "joined": moments.map(lambda m: Cell(m.isoformat(), m.isoformat(), m)) | st.just(NOTHING),
    }
)


def table_of(rows: list[dict[str, Cell]], *, typed: bool) -> Any:
    columns = {}
    for name, kind in TYPES.items():
        values = [row[name].typed if typed else row[name].text for row in rows]
        columns[name] = pa.array(values, kind if typed else pa.string())
    return pa.table(columns)


def misfits(error: RowError) -> set[tuple[int | None, str]]:
    return {(problem.row, problem.field) for problem in error.problems}


@given(st.lists(cells, min_size=1, max_size=8))
def test_json_text_typed_and_logged_values_become_the_same_bits(
    rows: list[dict[str, Cell]],
) -> None:
    given_json = msgspec.json.decode(
        msgspec.json.encode([{name: cell.json for name, cell in row.items()} for row in rows])
    )
    logged = msgspec.msgpack.decode(
        msgspec.msgpack.encode([ENCODER.logged(row) for row in given_json])
    )
    encoded = [
        ENCODER.encode_table(table_of(rows, typed=False)),
        ENCODER.encode_table(table_of(rows, typed=True)),
        ENCODER.encode_logged(ENCODER.logged_columns, logged),
    ]
    assert len({one.X.tobytes() for one in encoded}) == 1
    assert len({one.fits.tobytes() for one in encoded}) == 1
    assert len({tuple(problem.field for problem in one.problems) for one in encoded}) == 1
    fitting = [row for row, fits in zip(given_json, encoded[0].fits, strict=True) if fits]
    assert ENCODER.encode_rows(fitting).tobytes() == encoded[0].X[encoded[0].fits].tobytes()
    if not encoded[0].fits.all():
        with pytest.raises(RowError) as caught:
            ENCODER.encode_rows(given_json)
        assert {row for row, _ in misfits(caught.value)} == set(
            np.flatnonzero(~encoded[0].fits).tolist()
        )


@given(st.lists(cells, min_size=1, max_size=8), st.booleans())
def test_rows_made_from_a_table_become_the_same_bits_as_the_table(
    rows: list[dict[str, Cell]], typed: bool
) -> None:
    table = table_of(rows, typed=typed)
    encoded = ENCODER.encode_table(table)
    sent = [row for batch in json_rows(table, CONTRACT, batch=3) for row in batch]
    received = msgspec.json.decode(msgspec.json.encode(sent))
    again = ENCODER.encode_logged(list(TYPES), [tuple(row.values()) for row in received])
    assert again.X.tobytes() == encoded.X.tobytes()
    assert again.fits.tobytes() == encoded.fits.tobytes()


# -- rows, as a client sends them -----------------------------------------------------------------


def test_every_bad_field_of_every_row_is_named() -> None:
    bad = {**ROW, "age": -1, "plan": "pro", "colour": "red", "churned": "1", "at": "soon",
           "sex": "x"}  # fmt: skip
    del bad["amount"]
    with pytest.raises(RowError) as caught:
        ENCODER.encode_rows([ROW, bad])
    problems = {p.field: (p.row, p.given, p.expected) for p in caught.value.problems}
    assert problems == {
        "amount": (1, "nothing", "a finite number or null"),
        "age": (1, "a whole number", "a whole number, at least 0"),
        "plan": (1, "a text", "one of basic, Plus: 7, 1.5"),
        "colour": (1, "a text", "no such field; it is not in the contract"),
        "churned": (1, "a text", "not to be sent: it is what the model predicts"),
        "at": (1, "a text", "a time like 2026-01-31T12:00:00Z or null"),
        "sex": (1, "a text", "one of f, m"),
    }
    assert "row 1, amount: given nothing, expected a finite number or null" in str(caught.value)
    assert str(caught.value).endswith("and 2 more")


def test_columns_that_are_no_features_may_be_sent() -> None:
    more: dict[str, Any] = {"at": None, "who": "c1", "sex": "f", "heft": "what", "note": [1]}
    assert ENCODER.encode_rows([{**ROW, **more}]).tobytes() == ENCODER.encode_rows([ROW]).tobytes()


@pytest.mark.parametrize("value", [None, "", " ", "?", " ? "])
def test_a_row_without_an_event_time_has_none(value: Any) -> None:
    ENCODER.encode_rows([{**ROW, "at": value}])
    assert ENCODER.event_times([{**ROW, "at": value}, ROW]) == [None, None]


def test_event_times_have_a_zone() -> None:
    rows = [{"at": "2026-03-01T12:00"}, {"at": "2026-03-01T12:00:00.25+02:00"}]
    assert ENCODER.event_times(rows) == [
        datetime(2026, 3, 1, 12, tzinfo=UTC),
        datetime(2026, 3, 1, 10, 0, 0, 250_000, tzinfo=UTC),
    ]


def test_entities_are_texts_and_missing_ones_nobody() -> None:
    rows: list[dict[str, Any]] = [{"who": "c1"}, {"who": 17}, {"who": " c1 "}, {"who": "-"},
                                  {"who": ""}, {"who": None}, {}]  # fmt: skip
    assert ENCODER.entities(rows) == ["c1", "17", "c1", None, None, None, None]


def test_a_contract_without_time_and_id_has_neither() -> None:
    encoder = Encoder(small())
    assert encoder.event_times([{}]) == [None]
    assert encoder.entities([{}]) == [None]


# -- rows of the log ------------------------------------------------------------------------------


def test_a_column_the_log_does_not_have_is_missing_if_it_may_be() -> None:
    encoded = ENCODER.encode_logged(["age", "plan", "active"], [(41, "basic", True)])
    assert encoded.fits.tolist() == [True]
    np.testing.assert_array_equal(encoded.X, [[math.nan, 41, 0, math.nan, 1, math.nan]])
    encoded = ENCODER.encode_logged(["plan", "active"], [("basic", True), ("basic", False)])
    assert encoded.fits.tolist() == [False, False]
    assert [(p.field, p.row, p.given) for p in encoded.problems] == [("age", 0, "nothing")]


# -- tables ---------------------------------------------------------------------------------------


def test_a_table_names_the_first_misfit_of_each_column_and_how_many_follow() -> None:
    rows = [{name: Cell(v, str(v), v) for name, v in ROW.items()} | {"active": Cell(0, "no", 0),
            "joined": NOTHING} for _ in range(4)]  # fmt: skip
    for row, text in zip(rows, ("1", "x", "-3", "y"), strict=True):
        row["age"] = Cell(None, text, None)
    encoded = ENCODER.encode_table(table_of(rows, typed=False))
    assert encoded.fits.tolist() == [True, False, False, False]
    [problem] = encoded.problems
    assert (problem.row, problem.field) == (1, "age")
    assert (problem.given, problem.expected) == ("'x' and 2 more", "a whole number, at least 0")


def test_a_table_without_a_feature_names_it_and_what_is_there() -> None:
    with pytest.raises(DataError, match="no column 'amount', which the contract lists as feature"):
        ENCODER.encode_table(pa.table({"age": [1], "plan": ["basic"]}))
    with pytest.raises(DataError, match="they have: age, plan"):
        ENCODER.encode_target(pa.table({"age": [1], "plan": ["basic"]}))


NASTY = [
    "",
    " ",
    "a.b",
    "$x$",
    "row",
    "0",
    "__class__",
    "naïve ☃ 名前",
    'quote"s',
    "tab\t",
    "x" * 300,
]


def test_columns_may_have_any_name() -> None:
    columns = [Column(name=name, type=ColumnType.NUMBER) for name in NASTY]
    target = Column(name="target", type=ColumnType.BOOLEAN, role=Role.TARGET)
    encoder = Encoder(Contract(columns=(*columns, target), positive=("1",), negative=("0",)))
    row = {name: k for k, name in enumerate(NASTY)}
    expected = np.arange(len(NASTY), dtype=np.float64)[None]
    np.testing.assert_array_equal(encoder.encode_rows([row]), expected)
    table = pa.table({name: [k] for name, k in reversed(row.items())})
    np.testing.assert_array_equal(encoder.encode_table(table).X, expected)
    np.testing.assert_array_equal(encoder.encode_logged(NASTY, [tuple(row.values())]).X, expected)
    [[sent]] = json_rows(table, encoder.contract)
    np.testing.assert_array_equal(encoder.encode_rows([sent]), expected)


# -- labels ---------------------------------------------------------------------------------------


def small(positive: tuple[str, ...] = ("yes",), negative: tuple[str, ...] = ("no",)) -> Contract:
    return Contract(
        columns=(
            Column(name="x", type=ColumnType.NUMBER),
            Column(name="y", type=ColumnType.CATEGORY, role=Role.TARGET, missing=("?",)),
        ),
        positive=positive,
        negative=negative,
    )


@pytest.mark.parametrize(
    ("positive", "negative", "values"),
    [
        ("1", "0", ["1", 1, 1.0, " 1.0", "1e0", np.float64(1)]),
        ("true", "false", [True, "True", " TRUE", "true"]),
        ("Yes", "No", ["yes", "YES ", "Yes"]),
        (">50K", "<=50K", [">50K", ">50k "]),
        ("0.5", "1", [0.5, "0.50", ".5"]),
    ],
)
def test_a_label_may_be_spelt_in_several_ways(
    positive: str, negative: str, values: list[Any]
) -> None:
    encoder = Encoder(small((positive,), (negative,)))
    assert [encoder.label(value) for value in values] == [1.0] * len(values)
    assert encoder.label(negative) == 0.0


@pytest.mark.parametrize("value", [None, "maybe", 2, "", "yes!"])
def test_an_unknown_label_is_refused_with_what_is_known(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^expected one of yes, no, never$"):
        Encoder(small(negative=("no", "never"))).label(value)


def test_classes_that_differ_only_in_spelling_cannot_be_told_apart() -> None:
    with pytest.raises(ContractError, match="cannot be told apart: '1' is both"):
        Encoder(small(("1",), ("1.0",)))


TARGETS = [
    (pa.array(["1", "0", None, "never", " 1.0", "?", ""]), [1, 0, None, 0, 1, None, None]),
    (pa.array([1, 0, None], pa.int8()), [1, 0, None]),
    (pa.array([1.0, 0.0, math.nan, None]), [1, 0, None, None]),
    (pa.array(["1", None, "0"]).dictionary_encode(), [1, None, 0]),
    (pa.chunked_array([["1"], ["0", "1"]]).dictionary_encode(), [1, 0, 1]),
    (pa.array([None, None]), [None, None]),
]


@pytest.mark.parametrize(("given_labels", "expected"), TARGETS, ids=lambda v: str(v)[:20])
def test_the_target_of_a_table_is_one_zero_or_missing(
    given_labels: Any, expected: list[Any]
) -> None:
    found = ENCODER.encode_target(pa.table({"churned": given_labels}))
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float64))


def test_a_boolean_target_is_true_or_false() -> None:
    encoder = Encoder(small(("true",), ("false",)))
    found = encoder.encode_target(pa.table({"y": [True, False, None]}))
    np.testing.assert_array_equal(found, [1, 0, math.nan])


def test_a_class_that_only_the_dictionary_of_a_column_has_is_no_label() -> None:
    labels = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0]), ["1", "0", "perhaps"])
    found = ENCODER.encode_target(pa.table({"churned": labels}))
    np.testing.assert_array_equal(found, [1, 0, np.nan, 1])


def test_a_target_with_an_unknown_value_cannot_be_trained_on() -> None:
    message = (
        "target column churned: found 'perhaps', expected one of 1, 0, never; "
        "leave such rows out, or list the value as positive, negative or missing"
    )
    with pytest.raises(DataError) as caught:
        ENCODER.encode_target(pa.table({"churned": ["1", "perhaps"]}))
    assert str(caught.value) == message


def test_no_rows_are_no_rows() -> None:
    assert ENCODER.encode_rows([]).shape == (0, 6)
    assert ENCODER.encode_table(table_of([], typed=True)).X.shape == (0, 6)
    assert ENCODER.encode_table(table_of([], typed=False)).X.shape == (0, 6)
    assert ENCODER.encode_logged(["age"], []).X.shape == (0, 6)
