"""A first contract for a table, guessed from its values, with remarks on every doubtful guess."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from gyroscope.data.contract import Column, ColumnType, Contract, Role, Task
from gyroscope.data.distinct import distinct_values
from gyroscope.data.infer_leaks import outcome_words, without_leaks
from gyroscope.data.infer_roles import Placed, given_role, infer_role
from gyroscope.data.infer_target import Target, infer_target
from gyroscope.data.infer_types import Typed, infer_type
from gyroscope.data.remarks import Remark, name_words, nearest, quoted
from gyroscope.errors import ContractError, UsageError

SENSITIVE_WORDS = name_words(
    "age disability ethnic ethnicity gender marital nationality race religion sex"
)


class Inferred(msgspec.Struct, frozen=True, kw_only=True):
    """A contract, and what a person should know about the guesses in it."""

    contract: Contract
    remarks: tuple[Remark, ...]  # about the table first, then in the order of the columns


def infer_contract(
    table: Any,
    *,
    target: str,
    time: str | None = None,
    id: str | None = None,
    sensitive: Sequence[str] = (),
    positive: str | Sequence[str] | None = None,
    task: Task | None = None,
) -> Inferred:
    """Guess the contract of a ``pyarrow.Table``.

    Args:
        table: columns of text as from CSV, or typed ones as from Parquet; at least one row.
        target: name of the column to predict.
        time: name of the column with the event time.
        id: name of the column that says whom a row is about.
        sensitive: names of columns for fairness checks; they are not inputs.
        positive: values of the target that are positive; guessed if it has two values.
        task: what to predict of the target; guessed from its values.

    Raises:
        UsageError: a column named does not exist or has two roles.
        ContractError: the target cannot be predicted, a column does not suit its role, or no
            column is left to learn from.
    """
    given = _given_roles(table.column_names, target=target, time=time, id=id, sensitive=sensitive)
    wanted = (positive,) if isinstance(positive, str) else tuple(positive or ())
    goal = infer_target(distinct_values(target, table.column(target)), wanted, task)
    untyped = all(str(field.type) in ("string", "large_string") for field in table.schema)
    typed = {
        name: infer_type(distinct_values(name, table.column(name)), untyped=untyped)
        for name in table.column_names
        if name != target
    }
    placed = {
        name: given_role(one, given[name]) if name in given else infer_role(one)
        for name, one in typed.items()
    }
    placed = _without_copies(typed, placed)
    placed = without_leaks(typed, placed, goal)
    contract = _contract(table.column_names, goal, placed)
    remarks = [*_table_remarks(contract), *goal.remarks]
    for name in placed:
        remarks += placed[name].remarks
    return Inferred(contract=contract, remarks=tuple(remarks))


def _given_roles(
    names: Sequence[str],
    *,
    target: str,
    time: str | None,
    id: str | None,
    sensitive: Sequence[str],
) -> dict[str, Role]:
    wanted = [("target", target, Role.TARGET), ("time", time, Role.TIME), ("id", id, Role.ID)]
    wanted += [("sensitive", name, Role.SENSITIVE) for name in dict.fromkeys(sensitive)]
    given: dict[str, Role] = {}
    for option, name, role in wanted:
        if name is None:
            continue
        if name not in names:
            raise UsageError(
                f"--{option}: the data have no column {name!r}; {nearest(name, names)}"
            )
        if name in given:
            raise UsageError(f"column {name!r} cannot be both {given[name]} and {role}")
        given[name] = role
    return given


def _without_copies(typed: dict[str, Typed], placed: dict[str, Placed]) -> dict[str, Placed]:
    """Ignore features that repeat an earlier one; remark on those that tell the same."""
    seen: dict[bytes, str] = {}
    result = dict(placed)
    for name, one in placed.items():
        if one.column.role is not Role.FEATURE:
            continue
        first = seen.setdefault(hashlib.sha256(typed[name].values.codes.tobytes()).digest(), name)
        if first == name:
            continue
        if typed[name].values.texts() == typed[first].values.texts():
            result[name] = Placed(
                column=msgspec.structs.replace(
                    one.column, role=Role.IGNORED, why=f"the same as {first!r} in every row"
                ),
                remarks=(_copy(name, first),),
            )
        else:
            remarks = (*one.remarks, _same_information(name, first))
            result[name] = msgspec.structs.replace(one, remarks=remarks)
    return result


def _copy(name: str, first: str) -> Remark:
    return Remark(
        column=name,
        level="warning",
        kind="duplicate",
        message=f"Ignored: it has the same value as {first!r} in every row.",
        advice="If the two may differ in future rows, use `role: feature`.",
    )


def _same_information(name: str, first: str) -> Remark:
    return Remark(
        column=name,
        level="note",
        kind="same-information",
        message=f"Each of its values goes with one value of {first!r}, so it tells a model nothing "
        "more.",
        advice="`role: ignored` for one of the two makes explanations clearer.",
    )


def _contract(names: Sequence[str], goal: Target, placed: dict[str, Placed]) -> Contract:
    columns = [goal.column if name == goal.column.name else placed[name].column for name in names]
    if not any(column.role is Role.FEATURE for column in columns):
        reasons = "; ".join(f"{c.name}: {c.why}" for c in columns if c.role is Role.IGNORED)
        raise ContractError(
            f"no column is left to learn {goal.column.name!r} from"
            + (f" ({reasons})" if reasons else ": the table has no other column")
        )
    return Contract(
        columns=tuple(columns),
        positive=goal.positive,
        negative=goal.negative,
        task=goal.task,
        classes=goal.classes,
    )


def _table_remarks(contract: Contract) -> list[Remark]:
    remarks = []
    if contract.time is None:
        remarks.append(_no_time(contract.columns))
    telling = [c.name for c in contract.features if name_words(c.name) & SENSITIVE_WORDS]
    if telling and not contract.sensitive:
        remarks.append(
            Remark(
                column="",
                level="note",
                kind="sensitive",
                message=f"Judging by the names, these may be protected: {quoted(telling)}.",
                advice="With --sensitive, or `role: sensitive`, a column serves fairness checks "
                "and is no input.",
            )
        )
    return remarks


def _no_time(columns: Iterable[Column]) -> Remark:
    dates = [c.name for c in columns if c.type is ColumnType.DATETIME and c.role is Role.IGNORED]
    likely = [name for name in dates if not outcome_words(name)]
    if likely:
        advice = f"If {quoted(likely)} is the moment of the prediction, name it as --time."
    elif dates:
        advice = f"{quoted(dates)} sounds like the time of the outcome, which would not help."
    else:
        advice = "With such a column, named as --time, the newest rows test the model."
    return Remark(
        column="",
        level="note",
        kind="no-time",
        message="No column says when a row happened, so test rows are drawn at random.",
        advice=advice,
    )
