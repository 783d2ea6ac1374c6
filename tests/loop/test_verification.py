from __future__ import annotations

import msgspec
import pytest

from gyroscope.errors import NotFoundError
from gyroscope.loop.manual import promote
from gyroscope.loop.verification import Replayed, replay_scores
from gyroscope.loop.world import World
from gyroscope.testing.small_workspace import MODEL, register, serve
from gyroscope.testing.worlds import CALM, logged, tiny_bundle


def test_rows_of_every_version_score_the_same_bits_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gyroscope.loop.logged._ROWS_AT_ONCE", 70)
    serve(world, CALM.events(0, 2))
    promote(world, MODEL, register(world, tiny_bundle(kind="trees")), actor="test", reason="-")
    serve(world, CALM.events(2, 4))
    assert replay_scores(world, MODEL) == Replayed(rows=800, different=0)


def test_an_empty_log_has_nothing_that_differs(world: World) -> None:
    assert replay_scores(world, MODEL) == Replayed(rows=0, different=0)


def test_a_score_that_is_off_by_one_bit_is_found(world: World) -> None:
    predictions, _ = logged(CALM.events(0, 1), tiny_bundle(), version=1)
    score = predictions[7].score
    assert isinstance(score, float)
    predictions[7] = msgspec.structs.replace(predictions[7], score=score + 2**-53)
    assert predictions[7].score != score
    world.log(MODEL).append(predictions)
    assert replay_scores(world, MODEL) == Replayed(rows=200, different=1)


def test_a_value_that_was_altered_is_found(world: World) -> None:
    predictions, _ = logged(CALM.events(0, 1), tiny_bundle(), version=1)
    age = predictions[7].columns.index("age")
    row = list(predictions[7].row)
    row[age] = 99
    predictions[7] = msgspec.structs.replace(predictions[7], row=tuple(row))
    world.log(MODEL).append(predictions)
    assert replay_scores(world, MODEL) == Replayed(rows=200, different=1)


def test_a_version_that_nobody_has_any_more_cannot_be_verified(world: World) -> None:
    predictions, _ = logged(CALM.events(0, 1), tiny_bundle(), version=9)
    world.log(MODEL).append(predictions)
    with pytest.raises(NotFoundError, match="no version 9"):
        replay_scores(world, MODEL)
