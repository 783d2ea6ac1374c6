"""The target: what is to be predicted of it, and what each row's label is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.codec import label_text, plain_number, spelt_differently
from gyroscope.data.contract import Column, ColumnType, Role, Task
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
    """The target with its classes, if it has any."""

    column: Column
    task: Task
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    y: NDArray[np.float64]  # float64[n] as models are trained on; NaN where the target is missing
    remarks: tuple[Remark, ...]

    @property
    def most_frequent(self) -> str:
        """The class of several that most rows have."""
        return self.classes[int(np.bincount(self.y[~np.isnan(self.y)].astype(np.intp)).argmax())]

    def against_rest(self) -> NDArray[np.float64]:
        """Each row as 1, 0 or NaN, to look for columns that know the target: whether it is
        positive, is not of the most frequent class, or lies above the median."""
        known = self.y[~np.isnan(self.y)]
        if self.task == "binary" or not known.size:
            return self.y
        if self.task == "multiclass":
            split = self.y != self.classes.index(self.most_frequent)
        else:
            split = self.y > np.median(known)
        return np.where(np.isnan(self.y), np.nan, split)


def infer_target(
    values: Distinct, positive: Sequence[str] = (), task: Task | None = None
) -> Target:
    """Decide what is predicted of the target.

    Two values are two classes; values given as positive stand against all others; more texts, or
    at most 20 whole numbers, are several classes, other numbers amounts. With two classes the
    positive ones are those given, else it is told by word, else the rarer.

    Args:
        values: of the target.
        positive: values that are positive.
        task: what to predict, whatever the values look like.

    Raises:
        ContractError: the target has one class or too many, is not of the task given, or does not
            have a value given as positive.
    """
    markers = _missing_texts(values, positive)
    values = values.without(markers)
    classes = _classes(values)
    _check_predictable(values, classes)
    task = _task(values, classes, positive, task)
    target = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}[task]
    return target(values, markers, classes, positive)


def _task(
    values: Distinct,
    classes: dict[str, tuple[str, int]],
    positive: Sequence[str],
    wanted: Task | None,
) -> Task:
    name, n = values.name, len(classes)
    if positive:
        if wanted not in (None, "binary"):
            raise ContractError(f"--positive is for a binary target, not with --task {wanted}")
        return "binary"
    if wanted == "regression" and _as_numbers(list(classes)) is None:
        raise ContractError(
            f"target {name!r} holds texts such as {_example(classes)}; regression needs numbers"
        )
    if wanted == "binary" and n > 2:
        example = shlex.quote(list(classes.values())[:_LISTED][-1][0])
        raise ContractError(
            f"target {name!r} has {n:,} classes: {_shares(classes, values.n_present)}. To predict "
            "one or some of them against the rest, pass --positive VALUE (repeatable), for example "
            f"--positive {example}"
        )
    if wanted == "multiclass" and n == 2:
        raise ContractError(f"target {name!r} has 2 classes; leave --task out: it is binary")
    if wanted is not None:
        return wanted
    if n == 2:
        return "binary"
    return "regression" if _is_amount(values, classes) else "multiclass"


def _is_amount(values: Distinct, classes: dict[str, tuple[str, int]]) -> bool:
    numbers = _as_numbers(list(classes))
    if numbers is None or values.kind == "boolean":
        return False
    if values.kind == "text":  # "inf" may well be the name of a class
        numbers = [x for x in numbers if np.isfinite(x)]
    return len(numbers) > CLASSES_NOT_NUMBERS or not all(x.is_integer() for x in numbers)


def _example(classes: dict[str, tuple[str, int]]) -> str:
    return repr(next(spelling for text, (spelling, _) in classes.items() if _number(text) is None))


def _regression(
    values: Distinct,
    markers: Sequence[str],
    classes: dict[str, tuple[str, int]],
    positive: Sequence[str],
) -> Target:
    numbers = np.array([float(text) for text in values.texts()])
    if not np.isfinite(numbers).all():
        raise ContractError(f"target {values.name!r} holds infinite numbers; leave such rows out")
    low, high = float(numbers.min()), float(numbers.max())
    whole = bool((numbers == np.floor(numbers)).all())
    return Target(
        column=Column(
            name=values.name,
            type=ColumnType.INTEGER if whole and values.kind != "float" else ColumnType.NUMBER,
            role=Role.TARGET,
            nullable=values.n_missing > 0,
            missing=tuple(sorted(markers)),
            seen=(low, high),
            why=f"{len(classes):,} different numbers",
        ),
        task="regression",
        y=np.append(numbers, np.nan)[values.codes],
        remarks=(
            Remark(
                column=values.name,
                level="note",
                kind="task",
                message="The model will predict a number (regression).",
                advice="If its values are names of classes, pass --task multiclass.",
            ),
            *_missing_remark(values),
        ),
    )


def _multiclass(
    values: Distinct,
    markers: Sequence[str],
    classes: dict[str, tuple[str, int]],
    positive: Sequence[str],
) -> Target:
    if len(classes) > MOST_CLASSES:
        raise ContractError(
            f"target {values.name!r} has {len(classes):,} different values, at most {MOST_CLASSES} "
            f"classes can be told apart. {_DERIVE}, or join rare values in the data"
        )
    ordered = sorted(classes, key=_natural)
    number = {label: float(k) for k, label in enumerate(ordered)}
    of_value = [number[label_text(text)] for text in values.texts()]
    remark = Remark(
        column=values.name,
        level="note",
        kind="task",
        message=f"The model will predict which of {len(classes)} classes it is.",
        advice="To predict one against the rest, pass --positive VALUE; if the values are amounts, "
        "--task regression.",
    )
    return Target(
        column=_class_column(values, markers, classes),
        task="multiclass",
        classes=tuple(classes[label][0] for label in ordered),
        y=np.array([*of_value, np.nan])[values.codes],
        remarks=(remark, *_spelling_remarks(values), *_missing_remark(values, markers)),
    )


def _natural(label: str) -> tuple[float, str]:
    """Numbers by size, then texts by the alphabet."""
    number = plain_number(label)
    return (np.inf, label) if number is None else (number, "")


def _binary(
    values: Distinct,
    markers: Sequence[str],
    classes: dict[str, tuple[str, int]],
    positive: Sequence[str],
) -> Target:
    chosen = _chosen(values.name, classes, positive) if positive else {_likely_positive(classes)}
    spellings = {label: spelling for label, (spelling, _) in classes.items()}
    labels = [label_text(text) for text in values.texts()]
    guessed = [] if positive else [_guess_remark(values.name, spellings[next(iter(chosen))])]
    lookup = np.array([*(float(label in chosen) for label in labels), np.nan])
    return Target(
        column=_class_column(values, markers, classes),
        task="binary",
        positive=tuple(spelling for label, spelling in spellings.items() if label in chosen),
        negative=tuple(spelling for label, spelling in spellings.items() if label not in chosen),
        y=lookup[values.codes],
        remarks=(*guessed, *_spelling_remarks(values), *_missing_remark(values, markers)),
    )


def _class_column(
    values: Distinct, markers: Sequence[str], classes: dict[str, tuple[str, int]]
) -> Column:
    return Column(
        name=values.name,
        type=_type(values),
        role=Role.TARGET,
        nullable=values.n_missing > 0,
        missing=tuple(sorted(markers)),
        why=_shares(classes, values.n_present),
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


def _spelling_remarks(values: Distinct) -> list[Remark]:
    return [
        Remark(
            column=values.name,
            level="warning",
            kind="spelling",
            message=f"{quoted(spellings)} are taken for one class: equal numbers, or texts but for "
            "their case.",
            advice="If they are different classes, give them other names in the data.",
        )
        for spellings in spelt_differently(values.texts())
    ]


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


def _check_predictable(values: Distinct, classes: dict[str, tuple[str, int]]) -> None:
    name = values.name
    if values.kind in ("time", "unsupported"):
        raise ContractError(
            f"target {name!r} holds values of type {values.stored}, expected classes or numbers"
        )
    if not classes:
        raise ContractError(f"target {name!r} is empty in all {counted(values.codes.size, 'row')}")
    if len(classes) == 1:
        only = next(iter(classes.values()))[0]
        raise ContractError(
            f"target {name!r} is {only!r} in all rows; a model needs rows of at least two classes"
        )


def _as_numbers(texts: Sequence[str]) -> list[float] | None:
    """The numbers that all of the texts stand for."""
    numbers = [number for text in texts if (number := _number(text)) is not None]
    return numbers if len(numbers) == len(texts) else None


def _number(text: str) -> float | None:
    """The number that a text stands for; infinite for ``inf`` and for one beyond float64."""
    number = plain_number(text)
    if number is not None or "_" in text:
        return number
    try:
        return None if np.isnan(float(text)) else float(text)
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


def _guess_remark(name: str, positive: str) -> Remark:
    return Remark(
        column=name,
        level="note",
        kind="positive",
        message=f"The model will predict the probability of {positive!r}.",
        advice="If the other value is the event to act on, swap `positive` and `negative`.",
    )


def _missing_remark(values: Distinct, not_classes: Sequence[str] = ()) -> list[Remark]:
    remarks = []
    advice = "If {} is a class, take it out of `missing` and list it with the classes."
    if values.n_missing:
        remarks.append(
            Remark(
                column=values.name,
                level="warning",
                kind="missing-target",
                message=f"{counted(values.n_missing, 'row')} "
                f"({percent(values.n_missing / values.codes.size)}) have no value of the target; "
                "training leaves them out.",
                advice=advice.format(quoted(sorted(not_classes))) if not_classes else "",
            )
        )
    return remarks
