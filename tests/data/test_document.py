from __future__ import annotations

from typing import Any

import msgspec
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.config import MODEL_SETTINGS
from gyroscope.data.contract import Column, ColumnType, Contract, Role, contract_from_mapping
from gyroscope.data.document import model_block, new_document
from gyroscope.data.infer import Inferred
from gyroscope.data.remarks import Remark
from gyroscope.data.yaml_text import comment, scalar

NASTY = [
    *("yes", "No", "y", "null", "~", "true", "1e5", "0x1F", "1_000", "12:30", "=", "<<", ".inf"),
    *(
        " lead",
        "trail ",
        "a: b",
        "a #b",
        "- x",
        "? x",
        "[a]",
        "{a: b}",
        "'",
        '"',
        "\\",
        "%",
        "@",
        "`",
    ),
    *(
        "*a",
        "&a",
        "!a",
        "|",
        ">",
        "a,b",
        "two\nlines",
        "tab\t",
        "日本",
        "🎈",
        "\x85",
        "\u2028",
        "\x07",
    ),
    *("", "2026-01-31", "007", "é", "ñ.x", "a" * 300, "\ufeff", "a\u200bb"),
]
texts = st.one_of(st.sampled_from(NASTY), st.text(st.characters(codec="utf-8"), max_size=12))
numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def columns(draw: Any, role: Role = Role.FEATURE) -> Column:
    kind = draw(st.sampled_from([t for t in ColumnType if t is not ColumnType.TEXT]))
    categories = tuple(draw(st.lists(texts, min_size=1, max_size=30)))
    limits = st.none() | st.tuples(st.none() | numbers, st.none() | numbers)
    numeric = kind in (ColumnType.NUMBER, ColumnType.INTEGER)
    return Column(
        name=draw(texts),
        type=kind,
        role=role,
        nullable=draw(st.booleans()),
        missing=tuple(draw(st.lists(texts, max_size=3))),
        seen=draw(st.none() | st.tuples(numbers, numbers)),
        categories=categories if kind is ColumnType.CATEGORY else (),
        unknown=draw(st.sampled_from(["reject", "other"])),
        true=tuple(draw(st.lists(texts, max_size=2))),
        format=draw(st.none() | texts),
        limits=draw(limits) if numeric else None,
        why=draw(texts),
    )


@st.composite
def inferences(draw: Any) -> Inferred:
    parts = [draw(columns(Role.TARGET)), *draw(st.lists(columns(), min_size=1, max_size=4))]
    unique = {column.name: column for column in parts}
    first, *_ = names = list(unique)
    if unique[first].role is not Role.TARGET or len(unique) < 2:
        unique = {**unique, "target": draw(columns(Role.TARGET))}
    wanted = [msgspec.structs.replace(column, name=name) for name, column in unique.items()]
    values = draw(st.lists(texts, min_size=2, max_size=6, unique=True))
    contract = Contract(
        columns=tuple(wanted), positive=tuple(values[:1]), negative=tuple(values[1:])
    )
    remark = st.builds(
        Remark,
        column=st.sampled_from(["", *names]),
        level=st.sampled_from(["note", "warning"]),
        kind=st.sampled_from(["leak", "positive", "missing-text"]),
        message=texts,
        advice=texts,
    )
    return Inferred(contract=contract, remarks=tuple(draw(st.lists(remark, max_size=4))))


def small(*more: Column, remarks: tuple[Remark, ...] = ()) -> Inferred:
    target = Column(name="y", type=ColumnType.CATEGORY, role=Role.TARGET, why="'no' 89 %")
    contract = Contract(columns=(*more, target), positive=("yes",), negative=("no",))
    return Inferred(contract=contract, remarks=remarks)


AGE = Column(name="age", type=ColumnType.INTEGER, seen=(17.0, 98.0), why="3 % missing")


@settings(max_examples=40)
@given(inferences(), texts)
def test_any_contract_comes_back_as_it_was_but_for_why(inferred: Inferred, data: str) -> None:
    read = yaml.safe_load(model_block("model", data, inferred))["model"]
    assert read["data"] == data
    assert read["settings"] is None
    expected = tuple(msgspec.structs.replace(c, why="") for c in inferred.contract.columns)
    contract = contract_from_mapping(read["contract"], where="here")
    assert contract == msgspec.structs.replace(inferred.contract, columns=expected)


@given(texts)
def test_any_text_is_a_scalar_within_a_list(text: str) -> None:
    assert yaml.safe_load(f"[{scalar(text)}, {scalar(text)}]") == [text, text]


@given(st.integers() | numbers | st.booleans() | st.none())
def test_numbers_and_words_keep_their_value(value: float | None) -> None:
    assert yaml.safe_load(scalar(value)) == value


def test_texts_that_some_reader_takes_for_something_else_are_quoted() -> None:
    quoted = [
        "1",
        "1e5",
        "y",
        "NO",
        "on",
        "null",
        "2026-01-31",
        "12:30",
        "0o7",
        " x",
        "x ",
        "-",
        "",
    ]
    assert [scalar(text)[0] for text in quoted] == ['"'] * len(quoted)
    plain = ["age", "Online TA", "basic.4y", "7d", "naïve", "TA/TO", "a_b-c (d)"]
    assert [scalar(text) for text in plain] == plain


def test_a_short_column_takes_one_line_with_its_reason() -> None:
    block = model_block("calls", "calls.csv", small(AGE))
    assert "      age: {type: integer, role: feature, seen: [17, 98]}  # 3 % missing\n" in block
    assert "      \"y\": {type: category, role: target}  # 'no' 89 %\n" in block


def test_long_lists_are_wrapped() -> None:
    categories = tuple(f"category {k}" for k in range(40))
    block = model_block(
        "m", "x.csv", small(Column(name="c", type=ColumnType.CATEGORY, categories=categories))
    )
    assert max(map(len, block.splitlines())) <= 100
    assert yaml.safe_load(block)["m"]["contract"]["columns"]["c"]["categories"] == list(categories)


def test_remarks_stand_above_what_they_are_about() -> None:
    def remark(column: str, level: Any, kind: str) -> Remark:
        return Remark(column=column, level=level, kind=kind, message=f"{kind}.", advice="Do `a b`.")

    ignored = Column(name="id", type=ColumnType.TEXT, role=Role.IGNORED, why="identifier")
    remarks = (
        remark("", "note", "no-time"),
        remark("y", "note", "positive"),
        remark("age", "warning", "suspicious"),
        remark("age", "note", "codes"),
        remark("age", "note", "missing-text"),
        remark("id", "note", "id-like"),
        remark("id", "warning", "leak"),
    )
    lines = [
        line.strip()
        for line in model_block("m", "d", small(AGE, ignored, remarks=remarks)).splitlines()
    ]
    at = lines.index
    assert at("# no-time. Do `a b`.") == at("contract:") - 1
    assert at("# positive. Do `a b`.") == at('positive: "yes"') - 1
    start = at("age: {type: integer, role: feature, seen: [17, 98]}  # 3 % missing")
    assert lines[start - 2 : start] == ["# WARNING: suspicious. Do `a b`.", "# codes. Do `a b`."]
    assert lines[start + 1 : start + 3] == [
        "# WARNING: leak. Do `a b`.",
        "id: {type: text, role: ignored}  # identifier",
    ]


def test_comments_are_wrapped_but_not_within_backquotes() -> None:
    lines = comment("word " * 17 + "and then use `role: ignored` for it")
    assert [line for line in lines if "`role: ignored`" in line]
    assert max(map(len, lines)) <= 100


def test_every_offered_setting_is_valid_when_uncommented() -> None:
    block = model_block("m", "d", small(AGE))
    _, _, settings = block.partition("  settings:\n")
    offered = [line.removeprefix("    # ") for line in settings.splitlines() if line.count(": ")]
    values = {k: v for line in offered if ":" in line for k, v in _as_setting(line).items()}
    defaults = {setting.name: setting.default for setting in MODEL_SETTINGS}
    assert {"window", "label_lag", "cost_false_positive"} <= set(values)
    assert values == {name: defaults[name] for name in values}


def _as_setting(line: str) -> dict[str, Any]:
    try:
        read = yaml.safe_load(line)
    except yaml.YAMLError:
        return {}
    known = {setting.name for setting in MODEL_SETTINGS}
    return {k: v for k, v in read.items() if k in known} if isinstance(read, dict) else {}


def test_a_new_document_has_no_model_yet() -> None:
    assert yaml.safe_load(new_document()) == {"workspace": None, "models": None}
