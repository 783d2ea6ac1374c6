from __future__ import annotations

from typing import Any

import pytest

from gyroscope.data.contract import Column, ColumnType, Contract, Role, contract_from_mapping
from gyroscope.errors import ContractError

X = Column(name="x", type=ColumnType.NUMBER)
Y = Column(name="y", type=ColumnType.BOOLEAN, role=Role.TARGET)


def made(*columns: Column, positive: tuple[str, ...] = ("1",), **fields: Any) -> Contract:
    return Contract(columns=columns, positive=positive, **{"negative": ("0",), **fields})


def column(name: str = "z", kind: ColumnType = ColumnType.NUMBER, **fields: Any) -> Column:
    return Column(name=name, type=kind, **fields)


CONTRADICTIONS = [
    ((X, X, Y), "columns named twice in the contract: x"),
    ((X, Y, column(role=Role.TARGET)), "only one column may be target: y, z are"),
    ((X,), "no column of the contract has role target"),
    ((Y,), "no column of the contract has role feature"),
    ((X, Y, column(kind=ColumnType.TEXT)), "column z: free text cannot be a feature"),
    ((X, Y, column(kind=ColumnType.CATEGORY)), "column z: a category needs its categories"),
    (
        (X, Y, column(kind=ColumnType.DATETIME, limits=(0, None))),
        "column z: limits are for numbers, not datetime",
    ),
]


@pytest.mark.parametrize(("columns", "message"), CONTRADICTIONS, ids=lambda v: str(v)[:40])
def test_a_contract_that_contradicts_itself_is_refused(
    columns: tuple[Column, ...], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        made(*columns)


@pytest.mark.parametrize(
    ("positive", "negative"), [((), ("0",)), (("1",), ()), (("1", "2"), ("2",))]
)
def test_both_classes_need_values_of_their_own(
    positive: tuple[str, ...], negative: tuple[str, ...]
) -> None:
    with pytest.raises(ContractError, match="the target needs values for positive and for negati"):
        made(X, Y, positive=positive, negative=negative)


def test_columns_are_found_by_their_role() -> None:
    when = column("at", ColumnType.DATETIME, role=Role.TIME)
    who = column("who", ColumnType.TEXT, role=Role.ID)
    heft = column("heft", role=Role.WEIGHT)
    sex = column("sex", ColumnType.CATEGORY, role=Role.SENSITIVE)
    contract = made(when, X, who, Y, heft, sex)
    assert contract.features == (X,)
    assert [contract.target, contract.time, contract.id] == [Y, when, who]
    assert [contract.weight, *contract.sensitive] == [heft, sex]


def test_columns_of_other_roles_need_not_be_there() -> None:
    contract = made(X, Y)
    assert (contract.time or contract.id or contract.weight) is None
    assert contract.sensitive == ()


FIELDS: dict[str, Any] = {
    "positive": 1,
    "negative": [0, False],
    "columns": {
        "x": {"type": "number", "limits": [0, None], "unit": "EUR"},
        7: {"type": "category", "categories": ["a"], "unknown": "other"},
        "y": {"type": "boolean", "role": "target"},
    },
}


def test_a_contract_is_read_from_the_fields_of_a_file() -> None:
    contract = contract_from_mapping(FIELDS, where="here")
    assert [c.name for c in contract.columns] == ["x", "7", "y"]
    assert (contract.positive, contract.negative) == (("1",), ("0", "false"))
    assert contract.features[0].limits == (0, None)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"columns": {}}, "here: 'columns' must be a mapping of column names to fields"),
    ({"columns": ["x"]}, "here: 'columns' must be a mapping of column names to fields"),
    ({"colour": 1}, "here: unknown field 'colour'; known: columns, task, positive, neg"),
    ({"columns": {"x": 5}}, "here, column x: expected fields such as 'type: number'"),
    ({"columns": {"x": {"typ": "number"}}}, "here, column x: unknown field 'typ'; known: categ"),
    ({"columns": {"x": {"type": "int"}}}, "here, column x: Invalid enum value 'int'"),
    ({"positive": {"a": 1}}, "here: positive must be a value of the target or a list of values"),
    ({"negative": None}, "here: negative must be a value of the target or a list of values"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=lambda v: str(v)[:40])
def test_a_field_that_is_wrong_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        contract_from_mapping({**FIELDS, **changes}, where="here")


def test_scores_of_other_classes_or_of_classes_in_another_order_cannot_be_compared() -> None:
    target = Column(name="y", type=ColumnType.CATEGORY, role=Role.TARGET)
    columns = (Column(name="x", type=ColumnType.NUMBER), target)
    binary = Contract(columns=columns, positive=("yes",), negative=("no",))
    assert binary.predicts_as(Contract(columns=columns, positive=("yes", "y"), negative=("no",)))
    assert not binary.predicts_as(Contract(columns=columns, positive=("no",), negative=("yes",)))
    several = Contract(columns=columns, task="multiclass", classes=("a", "b", "c"))
    assert several.predicts_as(several)
    assert not several.predicts_as(
        Contract(columns=columns, task="multiclass", classes=("a", "c", "b"))
    )
    assert not several.predicts_as(binary)
