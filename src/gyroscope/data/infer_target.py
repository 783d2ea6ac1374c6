"""The target of a binary model: which of its values is positive, and what each row's label is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.codec import label_text
from gyroscope.data.contract import Column, ColumnType, Role
from gyroscope.data.distinct import Distinct
from gyroscope.data.infer_types import MARKERS
from gyroscope.data.remarks import Remark, counted, name_words, percent, quoted
from gyroscope.errors import ContractError

MOST_CLASSES = 200  # values of a target that may be listed in a contract
CLASSES_NOT_NUMBERS = 20  # a target with more different numbers is an amount, not a class

_LISTED = 10  # classes named in a message
_DERIVE = "Derive a yes/no column from it in the data and name that as target"
# What a positive outcome is usually called; when both values are here, the rarer is taken.
POSITIVE_WORDS = name_words("""
    yes y true t positive pos up bought buyer cancelled canceled churn churned clicked closed
    converted dead default defaulted died disease exited failed failure fraud fraudulent ill
    late left lost malignant open opened paid readmitted responded sick spam success won
""")


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The target with its two classes."""

    column: Column
    positive: tuple[str, ...]
    negative: tuple[str, ...]
    y: NDArray[np.float64]  # float64[n]: 1, 0, or NaN where the target is missing
    remarks: tuple[Remark, ...]


def infer_target(values: Distinct, positive: Sequence[str] = ()) -> Target:
    """Decide which values of the target are positive: those given, else by word, else the rarer.

    Raises:
        ContractError: the target has one class, more than two and none was given as positive, is
            a number to be predicted, or does not have a value given as positive.
    """
    markers = _missing_texts(values, positive)
    values = values.without(markers)
    classes = _classes(values)
    name = values.name
    if positive:
        chosen = _chosen(name, classes, positive)
    else:
        _check_binary(values, classes)
        chosen = {_likely_positive(classes)}
    spellings = {label: spelling for label, (spelling, _) in classes.items()}
    labels = [label_text(text) for text in values.texts()]
    lookup = np.array([*(float(label in chosen) for label in labels), np.nan])
    return Target(
        column=Column(
            name=name,
            type=_type(values),
            role=Role.TARGET,
            nullable=values.n_missing > 0,
            missing=tuple(sorted(markers)),
            why=_shares(classes, values.n_present),
        ),
        positive=tuple(spelling for label, spelling in spellings.items() if label in chosen),
        negative=tuple(spelling for label, spelling in spellings.items() if label not in chosen),
        y=lookup[values.codes],
        remarks=_remarks(values, spellings, chosen, guessed=not positive),
    )


def _missing_texts(values: Distinct, positive: Sequence[str]) -> list[str]:
    """Texts that mean missing, unless they are given as positive or nothing else tells classes."""
    if values.kind != "text":
        return []
    kept = {label_text(text) for text in positive}
    texts = values.texts()
    markers = [t for t in texts if t.casefold() in MARKERS and label_text(t) not in kept]
    return markers if len(texts) - len(markers) >= 2 else []


def _classes(values: Distinct) -> dict[str, tuple[str, int]]:
    """Label, as labels are compared, to its most frequent spelling and rows; most rows first."""
    classes: dict[str, tuple[str, int]] = {}
    texts = values.texts()
    for position in values.most_frequent():
        text, rows = texts[position], int(values.counts[position])
        spelling, before = classes.get(label_text(text), (_plain(text, values), 0))
        classes[label_text(text)] = (spelling, before + rows)
    return dict(sorted(classes.items(), key=lambda item: -item[1][1]))


def _plain(text: str, values: Distinct) -> str:
    """Classes stored as 0.0 and 1.0 are called 0 and 1."""
    return text.removesuffix(".0") if values.kind == "float" else text


def _type(values: Distinct) -> ColumnType:
    return {
        "integer": ColumnType.INTEGER,
        "float": ColumnType.NUMBER,
        "boolean": ColumnType.BOOLEAN,
    }.get(values.kind, ColumnType.CATEGORY)


def _chosen(name: str, classes: dict[str, tuple[str, int]], positive: Sequence[str]) -> set[str]:
    chosen = {label_text(text) for text in positive}
    known = quoted([spelling for spelling, _ in classes.values()], _LISTED)
    for text in positive:
        if label_text(text) not in classes:
            raise ContractError(f"target {name!r} has no value {text!r}; its values: {known}")
    if len(chosen) == len(classes):
        raise ContractError(f"target {name!r}: nothing is left as negative; its values: {known}")
    if len(classes) > MOST_CLASSES:
        raise ContractError(
            f"target {name!r} has {len(classes):,} different values, too many to list those that "
            f"are negative. {_DERIVE}"
        )
    return chosen


def _check_binary(values: Distinct, classes: dict[str, tuple[str, int]]) -> None:
    name = values.name
    if values.kind in ("time", "unsupported"):
        raise ContractError(
            f"target {name!r} holds values of type {values.stored}, expected two classes"
        )
    if not classes:
        raise ContractError(f"target {name!r} is empty in all {counted(values.codes.size, 'row')}")
    if len(classes) == 1:
        only = next(iter(classes.values()))[0]
        raise ContractError(
            f"target {name!r} is {only!r} in all rows; a model needs rows of both classes"
        )
    if len(classes) == 2:
        return
    _check_no_amount(name, classes)
    if len(classes) > MOST_CLASSES:
        raise ContractError(f"target {name!r} has {len(classes):,} different values. {_DERIVE}")
    example = list(classes.values())[:_LISTED][-1][0]
    raise ContractError(
        f"target {name!r} has {len(classes):,} classes: {_shares(classes, values.n_present)}. "
        "To predict one or some of them against the rest, pass --positive VALUE (repeatable), "
        f"for example --positive {shlex.quote(example)}"
    )


def _check_no_amount(name: str, classes: dict[str, tuple[str, int]]) -> None:
    numbers = _as_numbers(list(classes))
    if numbers is None:
        return
    if len(classes) <= CLASSES_NOT_NUMBERS and all(x.is_integer() for x in numbers):
        return
    median = np.median(np.repeat(numbers, [rows for _, rows in classes.values()]))
    raise ContractError(
        f"target {name!r} holds {len(classes):,} different numbers from {min(numbers):g} to "
        f"{max(numbers):g}: predicting an amount (regression) is not supported yet. Derive a "
        f"yes/no column from it in the data, for example {name} > {median:g} (its median), name "
        "that as target, and leave the amount out of the data"
    )


def _as_numbers(texts: Sequence[str]) -> list[float] | None:
    try:
        return [float(text) for text in texts]
    except ValueError:
        return None


def _likely_positive(classes: dict[str, tuple[str, int]]) -> str:
    common, rare = classes
    numbers = _as_numbers([common, rare])
    if numbers is not None and min(numbers) in (0.0, -1.0):
        return common if numbers[0] > numbers[1] else rare
    if common in POSITIVE_WORDS and rare not in POSITIVE_WORDS:
        return common
    return rare


def _shares(classes: dict[str, tuple[str, int]], n: int) -> str:
    named = [f"{text!r} {percent(rows / n)}" for text, rows in classes.values()]
    more = f" and {len(named) - _LISTED:,} more" if len(named) > _LISTED else ""
    return ", ".join(named[:_LISTED]) + more


def _remarks(
    values: Distinct, spellings: dict[str, str], chosen: set[str], *, guessed: bool
) -> tuple[Remark, ...]:
    remarks = []
    if guessed:
        picked = spellings[next(iter(chosen))]
        remarks.append(
            Remark(
                column=values.name,
                level="note",
                kind="positive",
                message=f"The model will predict the probability of {picked!r}.",
                advice="If the other value is the event to act on, swap `positive` and `negative`.",
            )
        )
    if values.n_missing:
        remarks.append(
            Remark(
                column=values.name,
                level="warning",
                kind="missing-target",
                message=f"{counted(values.n_missing, 'row')} "
                f"({percent(values.n_missing / values.codes.size)}) have no value of the target; "
                "training leaves them out.",
            )
        )
    return tuple(remarks)
