"""The two ways to read a body agree: what the fast one accepts, the exact one reads alike."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.serve.conftest import CONTRACT, ROW

from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.encoder import Encoder, matrix_of
from gyroscope.errors import RequestError, RowError
from gyroscope.serve.requests import RequestReader, _exact_predict, predict_request

FAST = RequestReader()

names = st.sampled_from(["a", "b", ":", '":', "\\", "a:b"]) | st.text(max_size=4)
values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([":", '"'])
)
rows = st.dictionaries(names, values, max_size=4)
explains = st.fixed_dictionaries(
    {},
    optional={
        "explain": st.none() | st.integers(-5, 5) | st.just("all"),
        "space": st.sampled_from(["margin", "probability"]),
        "sentence": st.booleans(),
    },
)
bodies = st.builds(
    lambda given, explain, indent, escaped: json.dumps(
        {**given, **explain}, indent=indent, ensure_ascii=escaped
    ),
    rows.map(lambda row: {"row": row}) | st.lists(rows, max_size=3).map(lambda all: {"rows": all}),
    explains,
    st.sampled_from([None, 1]),
    st.booleans(),
)


@given(body=bodies)
@example(body='{"row": {"a": 1, "a" : 2}}')
@example(body='{"row": {"a:b": 1, "\\u003a": 2, "\\u003a": 2}}')
@example(body='{"row": {"a": "::", "a": ""}}')
@example(body='{"row": {"a": -0, "b": -0.0, "c": 1e-400, "d": 9007199254740992}}')
@example(body='{"row": {"a": 9007199254740993}}')
@example(body='{"row": {"a": 1e22, "b": 0.1}, "explain": null}')
def test_what_the_fast_decoder_accepts_the_exact_reader_reads_alike(body: str) -> None:
    content = body.encode("utf-8", "surrogatepass")
    fast = FAST.read(content)
    if fast is None:
        return
    exact = _exact_predict(content, 100)
    assert msgspec.structs.astuple(fast) == msgspec.structs.astuple(exact)
    for one, other in zip(fast.rows, exact.rows, strict=True):
        for mine, theirs in zip(one.values(), other.values(), strict=True):
            assert type(mine) is type(theirs)


def read(body: str) -> Any:
    try:
        return predict_request(body.encode(), 10).rows
    except RequestError as error:
        return error.status


@given(row=rows, again=names)
def test_a_name_twice_is_found_wherever_it_hides(row: dict[str, Any], again: str) -> None:
    members = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in row.items()]
    twin = f"{json.dumps(again)} : 1"
    body = f'{{"row":{{{",".join([*members, twin, twin])}}}}}'
    assert read(body) == 400


def test_ordinary_requests_take_the_fast_way() -> None:
    row = {"age": 41, "time": "2026-01-31T12:00:00Z", "town": "Bern: old", "x": 0.5, "y": None}
    assert FAST.read(json.dumps({"row": row}).encode()) is not None
    assert FAST.read(json.dumps({"rows": [row] * 3, "explain": 2}).encode()) is not None


ANY_ROW = st.fixed_dictionaries(
    {},
    optional={
        "age": st.integers(-1, 121) | st.sampled_from([7.0, True, "7", None]),
        "balance": st.none() | st.floats() | st.integers() | st.just("?"),
        "job": st.sampled_from(["clerk", " nurse", "smith", "baker", "", None, 3]),
        "town": st.sampled_from(["Ulm", "Bern: old town", "Rome", "a:b", "\\", 5, 5.5, None]),
        "owner": st.sampled_from([True, "yes", "NO ", "maybe", 1, None]),
        "joined": st.sampled_from(["2024-05-01T08:00:00Z", "2024-05-01", "soon", None]),
        "at": st.sampled_from(["2024-05-01T08:00:00Z", "then", None]),
        "sex": st.sampled_from(["f", "x", None]),
        "extra": st.just(1),
    },
)


def described(row: Any) -> dict[str, Any]:
    """The fields of a row, with what tells apart 1, 1.0 and true, and the signs of zeros."""
    return {name: (type(value), repr(value)) for name, value in row.items()}


@given(rows=st.lists(ANY_ROW, min_size=1, max_size=12), whole=st.booleans())
@example(rows=[{**ROW, "balance": -0.0}], whole=True)
@example(rows=[{**ROW, "balance": 1e17, "age": 120}] * 9, whole=True)
def test_rows_that_a_contract_finds_plain_become_the_same_bits_or_the_same_problems(
    rows: list[dict[str, Any]], whole: bool
) -> None:
    encoder = Encoder(CONTRACT)
    rows = [{**ROW, **row} for row in rows] if whole else rows
    body = json.dumps({"rows": rows}).encode()
    request = RequestReader(encoder).read(body)
    if request is None:
        return
    assert request.plain_for is encoder
    exact = _exact_predict(body, 100).rows
    assert list(map(described, request.rows)) == list(map(described, exact))

    def outcome(encode: Any) -> Any:
        try:
            return encode(request.rows).tobytes()
        except RowError as error:
            return sorted(error.problems, key=repr)

    assert outcome(encoder.encode_plain_rows) == outcome(encoder.encode_rows)
    if len(rows) == 1:
        alone = outcome(lambda one: matrix_of([encoder.encode_plain_row(one)]))
        assert alone == outcome(encoder.encode_rows)


def test_the_usual_row_is_plain_and_one_with_an_unknown_field_is_not() -> None:
    reader = RequestReader(Encoder(CONTRACT))
    assert reader.read(json.dumps({"row": ROW}).encode()) is not None
    for odd in ({**ROW, "extra": 1}, {**ROW, "age": 121}, {"age": 40}):
        assert reader.read(json.dumps({"row": odd}).encode()) is None


def of_columns(*columns: Column) -> Encoder:
    target = Column(name="y", type=ColumnType.CATEGORY, role=Role.TARGET)
    return Encoder(Contract(columns=(*columns, target), positive=("1",), negative=("0",)))


def test_names_of_any_alphabet_are_known_and_an_empty_one_is_none_of_them() -> None:
    """msgspec takes a name that is not ASCII for an empty one until its UTF-8 was asked for."""
    text = "grö"
    names = [
        text + "ße: in m²",
        "年齢",
        "a:b",
    ]  # made while running: a literal may be used elsewhere
    reader = RequestReader(of_columns(*(Column(name=n, type=ColumnType.NUMBER) for n in names)))
    row = dict.fromkeys(names, 1.5)
    request = reader.read(json.dumps({"row": row}, ensure_ascii=False).encode())
    assert request is not None
    assert request.rows == [row]
    for name in names:
        other = {("" if n == name else n): value for n, value in row.items()}
        assert reader.read(json.dumps({"row": other}, ensure_ascii=False).encode()) is None


@pytest.mark.parametrize("nullable", [True, False])
def test_limits_between_which_no_whole_number_lies_let_none_pass(nullable: bool) -> None:
    column = Column(name="n", type=ColumnType.INTEGER, limits=(0.2, 0.8), nullable=nullable)
    reader = RequestReader(of_columns(column))
    taken = [reader.read(b'{"row": {"n": %b}}' % value) for value in (b"null", b"0", b"0.5", b"1")]
    assert [one is not None for one in taken] == [nullable, False, False, False]


@pytest.mark.parametrize("many", [60, 500])
def test_rows_of_many_columns_are_read_in_any_order(many: int) -> None:
    names = [f"f{i}" for i in range(many)]
    encoder = of_columns(*(Column(name=name, type=ColumnType.NUMBER) for name in names))
    row = {name: float(i) for i, name in enumerate(names)}
    for order in (names, names[::-1]):
        body = json.dumps({"row": {name: row[name] for name in order}}).encode()
        request = RequestReader(encoder).read(body)
        assert request is not None
        # Reading by the contract would cost the square of the number of its columns.
        assert request.plain_for is (encoder if many < 100 else None)
        assert encoder.encode_rows(request.rows).tolist() == [[*row.values()]]
