"""Which rows to fit on, to choose by and to judge by."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.contract import Task
from gyroscope.data.training_set import TrainingSet, Vector
from gyroscope.errors import DataError

Positions = NDArray[np.intp]
SHARES = (0.70, 0.15, 0.15)  # of the rows: train, validation, test
_FEWEST = 5  # of each class, in each part


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """Positions of rows, each in one part only."""

    train: Positions  # fitted on
    validation: Positions  # when to stop, which candidate, how to calibrate
    test: Positions  # judged by; nothing is chosen on them
    how: str  # "by time", "by entity", "at random, by class" or "at random"


def split_rows(rows: TrainingSet, *, seed: int, task: Task = "binary", n_classes: int = 2) -> Split:
    """Split by time if rows are timed, by entity if entities repeat, else at random by class.

    Raises:
        DataError: a part would have too few rows: fewer than 5 of one of two classes, or in all,
            or the part for training fewer than 5 of one of several classes.
    """
    first, second = round(len(rows) * SHARES[0]), round(len(rows) * (SHARES[0] + SHARES[1]))
    known = rows.group[rows.group >= 0]
    if rows.timed:
        order, how = np.argsort(rows.time, kind="stable"), "by time"
    elif len(np.unique(known)) < len(known):
        order, how = _by_entity(rows, seed), "by entity"
        starts = _entity_starts(rows.group[order])
        first, second = _nearest(starts, first), _nearest(starts, second)
    else:
        y = np.zeros(len(rows)) if task == "regression" else rows.y
        order = _by_class(y, seed)
        how = "at random" if task == "regression" else "at random, by class"
    split = Split(train=order[:first], validation=order[first:second], test=order[second:], how=how)
    return _checked(rows, split, task, n_classes)


def split_recent(
    rows: TrainingSet, since: float, *, task: Task = "binary", n_classes: int = 2
) -> Split:
    """Split for a retraining: the newest rows decide.

    Of the rows with event time (seconds since 1970) at or after ``since`` the first half is
    trained on with all older rows, the next quarter validates, the last quarter tests.

    Raises:
        DataError: as :func:`split_rows`.
    """
    order = np.argsort(rows.time, kind="stable")
    recent = int((rows.time >= since).sum())
    validation, test = len(rows) - recent // 2, len(rows) - recent // 4
    split = Split(
        train=order[:validation],
        validation=order[validation:test],
        test=order[test:],
        how="by time",
    )
    return _checked(rows, split, task, n_classes)


def _checked(rows: TrainingSet, split: Split, task: Task, n_classes: int) -> Split:
    for name in ("train", "validation", "test"):
        part = rows.y[getattr(split, name)]
        fewest, of_what = len(part), ""
        if task != "regression":
            held = np.sort(np.bincount(part.astype(np.intp), minlength=n_classes))
            all_needed = task == "binary" or name == "train"
            fewest = int(held[0] if all_needed else held[-2])
            rarest = "the rarer class" if task == "binary" else "the rarest class"
            of_what = f" of {rarest if all_needed else 'all classes but one'}"
        if fewest < _FEWEST:
            raise DataError(
                f"too few rows: split {split.how}, the {name} part has {len(part)} rows and only "
                f"{fewest}{of_what}; at least {_FEWEST} are needed"
            )
    return split


def _by_class(y: Vector, seed: int) -> Positions:
    """An order in which every stretch has its share of every class."""
    generator = np.random.default_rng(seed)
    place = np.empty(len(y))
    for label in np.unique(y):
        members = generator.permutation(np.flatnonzero(y == label))
        place[members] = (np.arange(len(members)) + 0.5) / max(1, len(members))
    return np.argsort(place, kind="stable")


def _by_entity(rows: TrainingSet, seed: int) -> Positions:
    """An order at random in which the rows of an entity stand together."""
    generator = np.random.default_rng(seed)
    place = generator.permutation(int(rows.group.max()) + 1).astype(np.float64)
    alone = generator.uniform(0, len(place), len(rows))  # rows without an entity
    return np.argsort(np.where(rows.group >= 0, place[rows.group], alone), kind="stable")


def _entity_starts(group: NDArray[np.int64]) -> Positions:
    """Where another entity begins, in rows of which those of an entity stand together."""
    begins = (group[1:] != group[:-1]) | (group[1:] < 0)
    return np.concatenate([[0], np.flatnonzero(begins) + 1, [len(group)]])


def _nearest(starts: Positions, wanted: int) -> int:
    return int(starts[np.argmin(np.abs(starts - wanted))])
