from __future__ import annotations

import time
import uuid

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


def test_ids_go_on_counting_where_their_last_part_is_full() -> None:
    """48 bits stand behind the last dash; a count that began near their end goes on before it."""
    for bits in (b"\0\0\0" + b"\xff" * 6, b"\0\0\0" + b"\xff" * 5 + b"\xfd"):
        made = _ids(4, 1_700_000_000_000, bits)
        numbers = [uuid.UUID(one).int for one in made]
        assert [str(uuid.UUID(one)) for one in made] == made
        assert numbers == list(range(numbers[0], numbers[0] + 4))
