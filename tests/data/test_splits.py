from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gyroscope.data.splits import SHARES, Split, split_recent, split_rows
from gyroscope.data.training_set import TrainingSet
from gyroscope.errors import DataError


def rows_of(
    n: int = 400,
    *,
    time: NDArray[np.float64] | None = None,
    group: NDArray[np.int64] | None = None,
    positives: float = 0.3,
    seed: int = 0,
) -> TrainingSet:
    random = np.random.default_rng(seed)
    return TrainingSet(
        X=random.normal(size=(n, 2)),
        y=(random.uniform(size=n) < positives).astype(np.float64),
        weight=np.ones(n),
        time=np.full(n, np.nan) if time is None else time,
        group=np.full(n, -1) if group is None else group,
    )


def assert_parts_are_the_rows(split: Split, n: int) -> None:
    together = np.concatenate([split.train, split.validation, split.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(n))


seeds = st.integers(0, 2**32 - 1)


@given(seeds, st.integers(100, 1000))
def test_timed_rows_are_split_by_time(seed: int, n: int) -> None:
    time = np.random.default_rng(seed).integers(0, 50, n).astype(np.float64)
    rows = rows_of(n, time=time, group=np.arange(n) % 7, seed=seed)
    try:
        split = split_rows(rows, seed=seed)
    except DataError:
        assume(False)  # too few positives by chance
    assert split.how == "by time"
    assert_parts_are_the_rows(split, n)
    assert time[split.train].max() <= time[split.validation].min()
    assert time[split.validation].max() <= time[split.test].min()
    assert len(split.train) == round(n * SHARES[0])


@given(seeds, st.integers(2, 40))
def test_an_entity_stands_in_one_part_only(seed: int, rows_each: int) -> None:
    random = np.random.default_rng(seed)
    group = random.integers(-1, 1200 // rows_each, 1200)
    rows = rows_of(1200, group=group, seed=seed)
    split = split_rows(rows, seed=seed)
    assert split.how == "by entity"
    assert_parts_are_the_rows(split, 1200)
    parts = [
        set(group[part].tolist()) - {-1} for part in (split.train, split.validation, split.test)
    ]
    assert sum(map(len, parts)) == len(set.union(*parts))
    largest = np.bincount(group[group >= 0]).max()
    for part, share in zip((split.train, split.validation, split.test), SHARES, strict=True):
        assert abs(len(part) - share * 1200) <= largest + 1


@given(seeds, st.integers(200, 2000), st.floats(0.1, 0.9))
def test_at_random_every_part_has_its_share_of_both_classes(
    seed: int, n: int, positives: float
) -> None:
    rows = rows_of(n, positives=positives, seed=seed)
    assume(min(rows.y.sum(), n - rows.y.sum()) > 40)
    split = split_rows(rows, seed=seed)
    assert split.how == "at random, by class"
    assert_parts_are_the_rows(split, n)
    for part in (split.train, split.validation, split.test):
        assert abs(rows.y[part].sum() - rows.y.mean() * len(part)) <= 2


def test_entities_that_never_repeat_are_no_reason_to_split_by_them() -> None:
    rows = rows_of(group=np.where(np.arange(400) < 300, np.arange(400), -1))
    assert split_rows(rows, seed=0).how == "at random, by class"


@pytest.mark.parametrize("group", [None, np.arange(400) // 4])
def test_the_same_seed_splits_the_same_way(group: NDArray[np.int64] | None) -> None:
    rows = rows_of(group=group)
    first, again, other = (split_rows(rows, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.train, again.train)
    assert set(first.train.tolist()) != set(other.train.tolist())


def test_too_few_rows_of_a_class_are_refused_with_the_numbers() -> None:
    rows = rows_of(100, time=np.arange(100.0))
    rows.y[:] = 0
    rows.y[:40] = 1
    message = (
        "too few rows: split by time, the validation part has 15 rows and only 0 of the rarer "
        "class; at least 5 are needed"
    )
    with pytest.raises(DataError, match=message):
        split_rows(rows, seed=0)


DAY = 86400.0
START = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@given(seeds, st.integers(20, 80))
def test_a_retraining_is_decided_by_the_newest_rows(seed: int, days: int) -> None:
    random = np.random.default_rng(seed)
    time = START + random.uniform(0, 100, 2000) * DAY
    rows = rows_of(2000, time=time, positives=0.5, seed=seed)
    since = START + (100 - days) * DAY
    split = split_recent(rows, since)
    assert_parts_are_the_rows(split, 2000)
    recent = int((time >= since).sum())
    assert len(split.validation) == recent // 2 - recent // 4
    assert len(split.test) == recent // 4
    assert time[split.train].max() <= time[split.validation].min()
    assert time[split.validation].max() <= time[split.test].min()
    assert time[split.validation].min() >= since


def test_a_retraining_with_few_new_rows_is_refused() -> None:
    rows = rows_of(time=START + np.arange(400.0))
    with pytest.raises(DataError, match="the validation part has 5 rows"):
        split_recent(rows, START + 380)
    with pytest.raises(DataError, match="the validation part has 0 rows"):
        split_recent(rows, START + timedelta(days=1).total_seconds())
