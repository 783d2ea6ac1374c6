"""The role of a column, guessed from its type and values."""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from gyroscope.data.contract import Column, ColumnType, Role
from gyroscope.data.distinct import Distinct
from gyroscope.data.infer_ignored import MOST_CATEGORIES, reason_to_ignore
from gyroscope.data.infer_types import Typed
from gyroscope.data.remarks import Remark, percent, quoted
from gyroscope.errors import ContractError

COMPLETE_CATEGORIES = 50  # a longer list of values is never taken for complete
LISTED_CATEGORIES = 200  # values listed where others are let in
RAREST_LISTED = (5, 0.0005)  # rows, share of rows: a value with fewer is left to "other"
# Reasons to ignore a column after which nothing is worth telling about its values.
KINDS_OF_TEXT = ("unsupported", "empty", "id-like", "free-text")


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A column with its role, and what there is to say about it."""

    column: Column
    remarks: tuple[Remark, ...] = ()


def infer_role(typed: Typed) -> Placed:
    """Make a column a feature, or ignored with the reason."""
    reason = reason_to_ignore(typed)
    if reason is None:
        column = described(typed, Role.FEATURE)
        return Placed(column=column, remarks=(*typed.remarks, *_clock_like(typed)))
    why, remark = reason
    column = described(typed, Role.IGNORED, why=why)
    if typed.numbers is None and remark.kind in KINDS_OF_TEXT:
        column = Column(name=column.name, type=ColumnType.TEXT, role=Role.IGNORED, why=why)
    hints = tuple(hint for hint in typed.remarks if hint.kind == "number-like")
    return Placed(column=column, remarks=(remark, *hints))


def given_role(typed: Typed, role: Role) -> Placed:
    """Give a column the role that the user named it for.

    Raises:
        ContractError: the values do not suit the role.
    """
    name = typed.values.name
    if role is Role.ID:
        column = Column(
            name=name,
            type=ColumnType.TEXT,
            role=role,
            nullable=typed.values.n_missing > 0,
            missing=typed.missing,
            why="named by you",
        )
        return Placed(column=column)
    if role is Role.TIME and typed.type is not ColumnType.DATETIME:
        raise ContractError(
            f"column {name!r} cannot be the time: its values, such as "
            f"{quoted(typed.values.texts(), 2) or 'nothing'}, are not all dates or times. Write "
            "them like 2026-01-31 or 2026-01-31T12:00:00Z"
        )
    if typed.type is ColumnType.TEXT or not len(typed.values.values):
        raise ContractError(f"column {name!r} cannot be {role}: it has no values that can be read")
    if typed.type is ColumnType.CATEGORY and len(typed.values.values) > MOST_CATEGORIES:
        raise ContractError(
            f"column {name!r} cannot be {role}: {len(typed.values.values):,} different values are "
            "too many for groups; put them into fewer in the data"
        )
    return Placed(column=described(typed, role), remarks=typed.remarks)


def described(typed: Typed, role: Role, *, why: str = "") -> Column:
    """The column of the contract for a typed column."""
    values = typed.values
    categories: tuple[str, ...] = ()
    unknown: Literal["reject", "other"] = "reject"
    if typed.type is ColumnType.CATEGORY and len(values.values) <= MOST_CATEGORIES:
        categories, unknown, words = _categories(values)
    elif typed.type is ColumnType.DATETIME:
        words = typed.words
    else:
        words = ""
    absent = f"{percent(values.n_missing / values.codes.size)} missing" if values.n_missing else ""
    return Column(
        name=values.name,
        type=typed.type,
        role=role,
        nullable=values.n_missing > 0,
        missing=typed.missing,
        seen=_seen(typed),
        categories=categories,
        unknown=unknown,
        true=typed.true,
        false=typed.false,
        format=None if typed.dates is None else typed.dates.format,
        why=", ".join(part for part in (why or words, absent) if part),
    )


def _seen(typed: Typed) -> tuple[float, float] | None:
    if typed.numbers is None:
        return None
    finite = typed.numbers[np.isfinite(typed.numbers)]
    # + 0.0 turns a negative zero into the ordinary one
    return (float(finite.min()) + 0.0, float(finite.max()) + 0.0) if finite.size else None


def _categories(values: Distinct) -> tuple[tuple[str, ...], Literal["reject", "other"], str]:
    """The values to list, whether others are let in, and why.

    The chance that the next row has a value never seen is about the share of rows whose value
    occurs once (Good 1953, "The population frequencies of species and the estimation of population
    parameters", Biometrika 40).
    """
    texts, order = values.texts(), values.most_frequent()
    once = int((values.counts == 1).sum())
    if not once and len(texts) <= COMPLETE_CATEGORIES:
        return tuple(texts[k] for k in order), "reject", f"complete list of {len(texts)}"
    rows, share = RAREST_LISTED
    for fewest in (max(rows, share * values.n_present), 2):
        listed = tuple(texts[k] for k in order[:LISTED_CATEGORIES] if values.counts[k] >= fewest)
        if listed:
            break
    words = f"{len(listed)} most frequent of {len(texts):,} values"
    if len(listed) == len(texts):
        words = f"{len(texts)} values"
    if once:
        return listed, "other", f"{words}, 1 in {values.n_present // once:,} rows brings a new one"
    return listed, "other", f"{words}, others may come"


def _clock_like(typed: Typed) -> tuple[Remark, ...]:
    """A remark on a number that never falls, or never rises, along the file."""
    if typed.numbers is None or typed.numbers.size <= COMPLETE_CATEGORIES:
        return ()
    rows = np.append(typed.numbers, np.nan)[typed.values.codes]
    rows = rows[np.isfinite(rows)]
    before, after = rows[:-1], rows[1:]
    if not ((before <= after).all() or (before >= after).all()):
        return ()
    return (
        Remark(
            column=typed.values.name,
            level="warning",
            kind="clock-like",
            message="It only ever moves one way along the rows: either the file is sorted by it, "
            "or it stands for time.",
            advice="A model cannot learn from a time that never comes back: use `role: ignored` "
            "in that case.",
        ),
    )
