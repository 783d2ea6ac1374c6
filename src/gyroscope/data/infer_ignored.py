"""Reasons why nothing can be learnt from a column, so that it is no feature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gyroscope.data.codec import EXACT_INTEGERS
from gyroscope.data.contract import ColumnType
from gyroscope.data.distinct import Distinct
from gyroscope.data.infer_types import Typed
from gyroscope.data.remarks import Remark, counted, name_words, quoted

MOST_CATEGORIES = 1000  # more different values cannot be learnt as a category
FEWEST_ROWS_PER_VALUE = 5  # on average, where there are more than FEW_VALUES values
FEW_VALUES = 20
NEARLY_ALL_DIFFER = 0.95  # share of different values from which texts name things
ID_WORDS = frozenset({"id", "ids", "identifier", "guid", "key", "nbr", "rowid", "uuid"})
COUNTER_ROWS = 20  # fewer whole numbers may all differ by chance
MANY_ROWS = 1000  # so many whole numbers hardly all differ by chance
FREE_TEXT_BLANKS = 3  # mean number of blanks in a text from which it is prose
FREE_TEXT_LENGTH = 60  # mean length from which it is

Reason = tuple[str, Remark]  # in a few words for the contract; in sentences


def reason_to_ignore(typed: Typed) -> Reason | None:
    """The first reason not to learn from a column; None if there is none."""
    rules: tuple[Callable[[Typed], Reason | None], ...] = (
        _unsupported,
        _empty,
        _constant,
        _date,
        _identifier,
        _free_text,
        _high_cardinality,
    )
    return next((reason for rule in rules if (reason := rule(typed)) is not None), None)


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
    inexact = _is_inexact(typed)
    if not (inexact or _is_key(typed) or _all_differ(typed)) or _is_prose(typed.values):
        return None
    differ = (
        "whole numbers beyond 2**53, where a model cannot tell neighbours apart"
        if inexact
        else f"{len(typed.values.values):,} different values in "
        f"{counted(typed.values.n_present, 'row')}"
    )
    return f"identifier: {differ}", Remark(
        column=typed.values.name,
        level="note",
        kind="id-like",
        message=f"Ignored: it looks like an identifier ({differ}).",
        advice="If rows with the same value are about the same customer or thing, use `role: id`; "
        "if it is an amount, `role: feature`.",
    )


def _is_inexact(typed: Typed) -> bool:
    """Whether whole numbers are so large that float64 makes one of several."""
    if typed.type is not ColumnType.INTEGER or typed.numbers is None:
        return False
    return float(np.abs(typed.numbers).max(initial=0.0)) > EXACT_INTEGERS


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
