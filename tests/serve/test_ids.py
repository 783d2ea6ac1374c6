from __future__ import annotations

import time
import uuid

import pytest

from gyroscope.serve.ids import _ids, time_sorted_ids


def test_ids_are_uuids_of_version_7_with_the_time_in_front() -> None:
    before = time.time_ns() // 1_000_000
    [made] = time_sorted_ids(1)
    after = time.time_ns() // 1_000_000
    read = uuid.UUID(made)
    assert str(read) == made
    assert (read.version, read.variant) == (7, uuid.RFC_4122)
    assert before <= read.int >> 80 <= after


def test_ids_are_unique_and_ascend_within_a_call() -> None:
    ids = time_sorted_ids(10_000)
    assert ids == sorted(set(ids))


def test_ids_of_many_calls_do_not_collide() -> None:
    ids = [made for _ in range(10_000) for made in time_sorted_ids(2)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("end", ["ffffffffffff", "fffffffffffd", "0000000000ff", "00000000ff00"])
@pytest.mark.parametrize("n", [2, 4, 600])
def test_ids_count_up_by_one_whatever_their_last_digits(end: str, n: int) -> None:
    made = _ids(n, 1_700_000_000_000, "000000" + end)
    numbers = [uuid.UUID(one).int for one in made]
    assert [str(uuid.UUID(one)) for one in made] == made
    assert made[0].endswith(end)
    assert numbers == list(range(numbers[0], numbers[0] + n))
