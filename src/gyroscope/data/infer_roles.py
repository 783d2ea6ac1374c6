"""The role of a column, guessed from its type and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np

from gyroscope.data.codec import EXACT_INTEGERS
from gyroscope.data.contract import Column, ColumnType, Role
from gyroscope.data.distinct import Distinct
from gyroscope.data.infer_types import Typed
from gyroscope.data.remarks import Remark, counted, name_words, percent, quoted
from gyroscope.errors import ContractError

MOST_CATEGORIES = 1000  # more different values cannot be learnt as a category
FEWEST_ROWS_PER_VALUE = 5  # on average, where there are more than FEW_VALUES values
FEW_VALUES = 20
COMPLETE_CATEGORIES = 50  # a longer list of values is never taken for complete
LISTED_CATEGORIES = 200  # values listed where others are let in
RAREST_LISTED = (5, 0.0005)  # rows, share of rows: a value with fewer is left to "other"
NEARLY_ALL_DIFFER = 0.95  # share of different values from which texts name things
ID_WORDS = frozenset({"id", "ids", "identifier", "guid", "key", "nbr", "rowid", "uuid"})
COUNTER_ROWS = 20  # fewer whole numbers may all differ by chance
MANY_ROWS = 1000  # so many whole numbers hardly all differ by chance
FREE_TEXT_BLANKS = 3  # mean number of blanks in a text from which it is prose
FREE_TEXT_LENGTH = 60  # mean length from which it is

NAMING_OR_PROSE = ("unsupported", "empty", "id-like", "free-text")  # kinds with nothing to list

Reason = tuple[str, Remark]  # in a few words for the file; in sentences


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A column with its role, and what there is to say about it."""

    column: Column
    remarks: tuple[Remark, ...] = ()


def infer_role(typed: Typed) -> Placed:
    """Make a column a feature, or ignored with the reason."""
    rules: tuple[Callable[[Typed], Reason | None], ...] = (
        _unsupported,
        _empty,
        _constant,
        _date,
        _identifier,
        _free_text,
        _high_cardinality,
    )
    for rule in rules:
        reason = rule(typed)
        if reason is not None:
            why, remark = reason
            if typed.numbers is None and remark.kind in NAMING_OR_PROSE:
                column = Column(
                    name=remark.column, type=ColumnType.TEXT, role=Role.IGNORED, why=why
                )
            else:
                column = described(typed, Role.IGNORED, why=why)
            hints = tuple(hint for hint in typed.remarks if hint.kind == "number-like")
            return Placed(column=column, remarks=(remark, *hints))
    column = described(typed, Role.FEATURE)
    return Placed(column=column, remarks=(*typed.remarks, *_clock_like(typed)))


def given_role(typed: Typed, role: Role) -> Placed:
    """Give a column the role that the user named it for.

    Raises:
        ContractError: the values do not suit the role.
    """
    name = typed.values.name
    if role is Role.ID:
        return Placed(column=Column(name=name, type=ColumnType.TEXT, role=role, why="named by you"))
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
    return (float(finite.min()), float(finite.max())) if finite.size else None


def _categories(values: Distinct) -> tuple[tuple[str, ...], Literal["reject", "other"], str]:
    """The values to list, whether others are let in, and why.

    The chance that the next row has a value never seen is about the share of rows whose value
    occurs once (Good 1953, "The population frequencies of species", section 2).
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


# -- reasons to ignore a column -------------------------------------------------------------------


def _unsupported(typed: Typed) -> Reason | None:
    if typed.values.kind != "unsupported":
        return None
    return typed.words, Remark(
        column=typed.values.name,
        level="warning",
        kind="unsupported",
        message=f"Ignored: {typed.words} cannot be used.",
        advice="Write plain numbers, texts, booleans or times into the data.",
    )


def _empty(typed: Typed) -> Reason | None:
    if typed.values.n_present:
        return None
    return "no values", Remark(
        column=typed.values.name,
        level="warning",
        kind="empty",
        message="Ignored: it has no value in any row.",
    )


def _constant(typed: Typed) -> Reason | None:
    if len(typed.values.values) > 1 or typed.values.n_missing:
        return None
    value = quoted(typed.values.texts())
    return f"always {value}", Remark(
        column=typed.values.name,
        level="note",
        kind="constant",
        message=f"Ignored: it is {value} in all rows, so nothing can be learnt from it.",
    )


def _date(typed: Typed) -> Reason | None:
    if typed.type is not ColumnType.DATETIME:
        return None
    return typed.words, Remark(
        column=typed.values.name,
        level="note",
        kind="date",
        message="Ignored: a model cannot learn from dates that never come back.",
        advice="If it is the moment of the prediction, use `role: time`. If its weekday, hour or "
        "age matters, put that into a column of its own.",
    )


def _identifier(typed: Typed) -> Reason | None:
    if not (_is_key(typed) or _all_differ(typed)) or _is_prose(typed.values):
        return None
    differ = (
        f"{len(typed.values.values):,} different values in {counted(typed.values.n_present, 'row')}"
    )
    return f"identifier: {differ}", Remark(
        column=typed.values.name,
        level="note",
        kind="id-like",
        message=f"Ignored: it looks like an identifier ({differ}).",
        advice="If rows with the same value are about the same customer or thing, use `role: id`; "
        "if it is an amount, `role: feature`.",
    )


def _is_key(typed: Typed) -> bool:
    """Whether texts or whole numbers name things, going by the column's name or their number."""
    if typed.type not in (ColumnType.INTEGER, ColumnType.CATEGORY):
        return False
    different, n = len(typed.values.values), typed.values.n_present
    if name_words(typed.values.name) & ID_WORDS:
        return different > MOST_CATEGORIES or different >= n / 2 >= COUNTER_ROWS / 2
    names_things = different >= COUNTER_ROWS and different >= NEARLY_ALL_DIFFER * n
    return typed.type is ColumnType.CATEGORY and names_things


def _all_differ(typed: Typed) -> bool:
    """Whether whole numbers differ from row to row as a counter or a random key would."""
    numbers = typed.numbers
    if typed.type is not ColumnType.INTEGER or numbers is None or not numbers.size:
        return False
    if np.abs(numbers).max() > EXACT_INTEGERS:
        return True
    n = typed.values.n_present
    if numbers.size < n or n < COUNTER_ROWS:
        return False
    steps = np.diff(numbers)  # in order of appearance, which is the order of rows here
    one_way = bool((steps > 0).all() or (steps < 0).all())
    return one_way or n >= MANY_ROWS or float(np.ptp(numbers)) < 2 * n


def _is_prose(values: Distinct) -> bool:
    import pyarrow.compute as pc

    if values.kind != "text" or not len(values.values):
        return False
    blanks = pc.mean(pc.count_substring(values.values, " ")).as_py()
    length = pc.mean(pc.utf8_length(values.values)).as_py()
    return bool(blanks >= FREE_TEXT_BLANKS or length >= FREE_TEXT_LENGTH)


def _free_text(typed: Typed) -> Reason | None:
    values = typed.values
    if typed.type is not ColumnType.CATEGORY or len(values.values) < values.n_present / 2:
        return None
    if len(values.values) <= FEW_VALUES or not _is_prose(values):
        return None
    return "free text", Remark(
        column=values.name,
        level="note",
        kind="free-text",
        message="Ignored: free text.",
        advice="To use it, put what matters in it into columns of their own in the data.",
    )


def _high_cardinality(typed: Typed) -> Reason | None:
    values = typed.values
    different, n = len(values.values), values.n_present
    if typed.type is not ColumnType.CATEGORY:
        return None
    thin = different > FEW_VALUES and n < FEWEST_ROWS_PER_VALUE * different
    if not thin and different <= MOST_CATEGORIES and int(values.counts.max()) > 1:
        return None
    return f"{different:,} different values", Remark(
        column=values.name,
        level="warning",
        kind="high-cardinality",
        message=f"Ignored: {different:,} different values in {counted(n, 'row')} are too many to "
        "learn from.",
        advice="To use it, group the values in the data, for example by region or by the first "
        "letters of a code.",
    )


def _clock_like(typed: Typed) -> tuple[Remark, ...]:
    """A remark on a number that never falls, or never rises, along the file."""
    if typed.numbers is None or typed.numbers.size <= COMPLETE_CATEGORIES:
        return ()
    rows = np.append(typed.numbers, np.nan)[typed.values.codes]
    steps = np.diff(rows[np.isfinite(rows)])
    if not ((steps >= 0).all() or (steps <= 0).all()):
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
