"""What the pilot does in worlds in which everything is known."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from gyroscope.bundle.additive import AdditiveScorer
from gyroscope.bundle.bundle import Bundle
from gyroscope.data.contract import Column, ColumnType, Contract
from gyroscope.data.training_set import TrainingSet, load_snapshot, load_training_set
from gyroscope.decisions import Action, Decision, State, Status
from gyroscope.errors import GyroscopeError
from gyroscope.findings import Kind, Verdict, Window
from gyroscope.loop.executors import InlineExecutor
from gyroscope.loop.manual import pause, promote, resume, retrain, roll_back
from gyroscope.loop.training import inside
from gyroscope.loop.world import World
from gyroscope.model import CHAMPION, PREVIOUS, Label
from gyroscope.store.base import Job, JobStatus
from gyroscope.testing.small_workspace import MODEL, fly, register, serve
from gyroscope.testing.worlds import (
    CALM,
    CHANGE_DAY,
    CONCEPT_DRIFT,
    CONTRACT,
    Event,
    day,
    logged,
    tiny_bundle,
    to_table,
)
from gyroscope.train.reference import make_reference

MakeWorld = Callable[..., World]
DAY = timedelta(days=1)


def decided(world: World, *but: Action) -> list[Decision]:
    """What was decided after the first promotion, but for some actions; all of it was done."""
    recorded = world.store.decisions(MODEL)[1:]
    assert all(r.status is Status.DONE for r in recorded)
    return [r.decision for r in recorded if r.decision.action not in but]


def actions(world: World, *but: Action) -> list[Action]:
    return [decision.action for decision in decided(world, *but)]


def live(world: World, events: Callable[[int, int], list[Event]], first: int, last: int) -> None:
    """Let days pass, one after the other."""
    for number in range(first, last):
        serve(world, events(number, number + 1))
        fly(world)


def snapshot_of(world: World, version: int) -> TrainingSet:
    digest = world.registry.version(MODEL, version).tags["snapshot"]
    return load_snapshot(digest, world.snapshots)


def aliases(world: World) -> dict[str, int]:
    return world.registry.aliases(MODEL)


# -- worlds ----------------------------------------------------------------------------------------


def test_in_a_calm_world_nothing_is_done_for_sixty_days(world: World) -> None:
    live(world, CALM.events, 0, 60)
    assert actions(world, Action.NOTICE) == []
    care = world.store.care(MODEL)
    assert (care.state, care.closed_until) == (State.HEALTHY, day(59).start)


def test_a_lost_concept_is_learned_again_proved_and_confirmed(world: World) -> None:
    live(world, CONCEPT_DRIFT.events, CHANGE_DAY - 8, CHANGE_DAY + 20)
    assert actions(world, Action.NOTICE) == [
        *(Action.ALARM, Action.RETRAIN, Action.START_TRIAL),
        *(Action.PROMOTE, Action.CONFIRM),
    ]
    alarm, *_, promotion, _ = decided(world, Action.NOTICE)
    assert alarm.at < day(CHANGE_DAY + 4).end
    assert (promotion.version, promotion.previous) == (2, 1)
    assert aliases(world) == {CHAMPION: 2, PREVIOUS: 1}
    assert world.store.care(MODEL).state is State.HEALTHY
    assert world.store.verify_chain() > 0


def in_cents(events: list[Event]) -> list[Event]:
    """The balances in another unit, as a fault upstream would send them."""
    changed = []
    for event in events:
        balance = event.row["balance"]
        cents = None if balance is None else float(balance) * 100
        changed.append(msgspec.structs.replace(event, row={**event.row, "balance": cents}))
    return changed


def test_broken_days_are_quarantined_and_never_trained_on(world: World) -> None:
    live(world, CALM.events, 0, 8)
    live(world, lambda a, b: in_cents(CALM.events(a, b)), 8, 11)
    live(world, CALM.events, 11, 15)
    done = decided(world, Action.NOTICE, Action.ALARM, Action.RESOLVE)
    assert [d.action for d in done] == [*[Action.QUARANTINE] * 3, Action.RELEASE]
    assert [d.window for d in done[:3]] == [day(8), day(9), day(10)]
    retrain(world, MODEL, actor="test", reason="to see what is trained on")
    fly(world)
    time = snapshot_of(world, 2).time
    assert inside(time, day(7)).sum() == inside(time, day(11)).sum() == CALM.rows_per_day
    assert not any(inside(time, day(n)).any() for n in (8, 9, 10))


def test_a_bad_version_made_champion_by_hand_is_rolled_back(world: World) -> None:
    live(world, CALM.events, 0, 3)
    bad = register(world, tiny_bundle(noise=1.5, seed=1))
    promote(world, MODEL, bad, actor="somebody", reason="it looked good")
    live(world, CALM.events, 3, 8)
    assert actions(world, Action.NOTICE) == [Action.PROMOTE, Action.ROLL_BACK]
    assert aliases(world) == {CHAMPION: 1}
    assert world.store.care(MODEL).failures == 1


def test_while_paused_the_pilot_warns_and_leaves_all_as_it_is(world: World) -> None:
    live(world, CONCEPT_DRIFT.events, CHANGE_DAY - 2, CHANGE_DAY)
    pause(world, MODEL, actor="somebody", reason="holidays")
    live(world, CONCEPT_DRIFT.events, CHANGE_DAY, CHANGE_DAY + 8)
    assert actions(world, Action.NOTICE) == [Action.PAUSE, Action.ALARM]
    assert "paused" in decided(world, Action.NOTICE)[-1].reason
    resume(world, MODEL, actor="somebody", reason="back again")
    live(world, CONCEPT_DRIFT.events, CHANGE_DAY + 8, CHANGE_DAY + 10)
    assert actions(world, Action.NOTICE)[2:4] == [Action.RESUME, Action.RETRAIN]


# -- labels ----------------------------------------------------------------------------------------


def test_windows_without_labels_are_passed_and_say_so(world: World) -> None:
    serve(world, CALM.events(0, 6), labels=False)
    fly(world)
    assert actions(world, Action.NOTICE) == []
    assert world.store.care(MODEL).labelled_until == day(4).start
    performance = [f for f in world.store.findings(MODEL) if f.kind is Kind.PERFORMANCE]
    assert {f.verdict for f in performance} == {Verdict.NOT_ENOUGH_DATA}


def test_labels_that_come_late_or_are_corrected_are_trained_on_as_they_stand(world: World) -> None:
    events = CALM.events(0, 6)
    serve(world, events, labels=False)
    fly(world)
    arrival = day(7).start
    flip = {"yes": "no", "no": "yes"}
    wrong = [
        Label(prediction_id=e.id, label=flip[e.label], time=arrival, arrival=arrival)
        for e in events
    ]
    right = [
        Label(prediction_id=e.id, label=e.label, time=arrival, arrival=arrival + DAY)
        for e in events
    ]
    world.log(MODEL).append_labels(right[::2])
    world.log(MODEL).append_labels(wrong)
    serve(world, CALM.events(6, 8))
    retrain(world, MODEL, actor="test", reason="labels have come")
    fly(world)
    rows = snapshot_of(world, 2)
    mine = np.flatnonzero(inside(rows.time, Window(day(0).start, day(6).start)))
    assert len(mine) == len(events)
    truth = np.array([event.label == "yes" for event in events])
    assert (rows.y[mine][::2] == truth[::2]).all()
    assert (rows.y[mine][1::2] != truth[1::2]).all()


# -- time ------------------------------------------------------------------------------------------


def test_a_long_silence_is_passed_over(make_world: MakeWorld) -> None:
    world = make_world(window="1h", min_rows=5)
    serve(world, CALM.events(0, 2))
    fly(world)
    serve(world, CALM.events(200, 201))
    assert fly(world, most_steps=300) < 150  # of nearly 5000 windows
    care = world.store.care(MODEL)
    assert care.closed_until is not None
    assert care.closed_until > day(200).start + timedelta(hours=20)
    assert len(decided(world, Action.NOTICE)) <= 4  # the silence is news once


WRONG = [
    datetime.min.replace(tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(2099, 1, 1, tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
]


@pytest.mark.parametrize("time", WRONG, ids=str)
def test_a_row_with_a_time_far_off_stops_nothing(world: World, time: datetime) -> None:
    stray = msgspec.structs.replace(CALM.events(0, 1)[0], id="stray", time=time)
    stray = msgspec.structs.replace(stray, labelled=day(0).start)
    serve(world, [stray])
    fly(world, most_steps=100)
    serve(world, CALM.events(0, 5))
    fly(world, most_steps=100)  # not one for each day since then
    assert world.store.care(MODEL).closed_until == day(4).start
    assert world.store.care(MODEL).labelled_until == day(3).start
    retrain(world, MODEL, actor="test", reason="to see what is trained on")
    fly(world)
    trial = world.store.care(MODEL).trial
    assert trial is None or trial.since < day(6).start
    assert snapshot_of(world, 2).time.max() < day(5).start.timestamp()


def test_windows_go_on_where_they_ended_when_their_length_is_changed(
    make_world: MakeWorld,
) -> None:
    live(make_world(window="6h"), CALM.events, 0, 3)
    world = make_world(window="2d")
    assert world.store.care(MODEL).closed_until == day(2).start + timedelta(hours=18)
    live(world, CALM.events, 3, 7)
    windows = {f.window for f in world.store.findings(MODEL) if f.kind is Kind.COLUMN_DRIFT}
    lengths = {w.length for w in windows if w is not None and w.start >= day(2).start}
    assert max(lengths) == 2 * DAY
    assert all(w is None or w.length <= 2 * DAY for w in windows)
    starts = sorted(w.start for w in windows if w is not None)
    assert len(starts) == len(set(starts))


# -- champions from elsewhere ----------------------------------------------------------------------


def test_a_champion_chosen_in_mlflow_is_adopted_and_can_be_taken_back(world: World) -> None:
    live(world, CALM.events, 0, 3)
    other = register(world, tiny_bundle(noise=0.05))
    world.registry.set_alias(MODEL, CHAMPION, other)
    live(world, CALM.events, 3, 5)
    care = world.store.care(MODEL)
    assert (care.champion, care.state) == (other, State.HEALTHY)
    (notice,) = decided(world)
    assert (notice.action, notice.version, notice.previous) == (Action.NOTICE, other, 1)
    assert "made champion in the registry" in notice.reason
    roll_back(world, MODEL, actor="somebody", reason="I did not mean it")
    assert aliases(world) == {CHAMPION: 1}


def test_nothing_is_done_while_no_version_is_champion(world: World) -> None:
    world.registry.remove_alias(MODEL, CHAMPION)
    serve_as(world, 1, CALM.events(0, 3))
    fly(world)
    assert world.store.care(MODEL).state is State.LEARNING
    world.registry.set_alias(MODEL, CHAMPION, 1)
    fly(world)
    assert world.store.care(MODEL).closed_until == day(2).start
    assert [d.version for d in decided(world)] == [None, 1]


def serve_as(world: World, version: int, events: list[Event]) -> None:
    """Put events into the log as a version has served them."""
    predictions, labels = logged(events, world.bundle(MODEL, version), version=version)
    world.log(MODEL).append(predictions)
    world.log(MODEL).append_labels(labels)


def with_income(bundle: Bundle) -> tuple[Bundle, TrainingSet]:
    """The bundle with a column more in its contract, of which its scorer makes nothing."""
    contract = Contract(
        columns=(*CONTRACT.columns, Column(name="income", type=ColumnType.NUMBER)),
        positive=CONTRACT.positive,
        negative=CONTRACT.negative,
    )
    arrays = dict(bundle.scorer.arrays())
    for name, more in (("slopes", 0.0), ("missing", 0.0), ("expected", 0.0), ("table_lengths", -1)):
        arrays[name] = np.append(arrays[name], more)
    scorer = AdditiveScorer.from_arrays(arrays)
    known = load_training_set(to_table(CALM.events(-10, 0)), CONTRACT).rows
    income = np.random.default_rng(1).normal(30_000, 5_000, len(known))
    rows = msgspec.structs.replace(known, X=np.column_stack([known.X, income]))
    p = bundle.link.probability(scorer.margins(rows.X))
    reference = make_reference(contract, rows, rows, p, threshold=bundle.threshold, window=DAY)
    wider = Bundle(
        manifest=bundle.manifest,
        contract=contract,
        scorer=scorer,
        link=bundle.link,
        reference=reference,
    )
    return wider, rows


def test_rows_of_an_older_contract_stand_in_no_newer_champions_way(world: World) -> None:
    live(world, CALM.events, 0, 3)
    serve(world, CALM.events(3, 4)[:100])
    newer = register(world, *with_income(tiny_bundle()))
    promote(world, MODEL, newer, actor="somebody", reason="we know the income now")
    serve(world, [with_an_income(event) for event in CALM.events(3, 4)[100:]])
    live(world, lambda a, b: [with_an_income(event) for event in CALM.events(a, b)], 4, 10)
    assert actions(world, Action.NOTICE) == [Action.PROMOTE, Action.CONFIRM]
    windows = [f.window for f in world.store.findings(MODEL) if f.check == "excess_loss"]
    assert day(7) in windows
    retrain(world, MODEL, actor="somebody", reason="to see what is trained on")
    fly(world)
    time = snapshot_of(world, 3).time
    assert inside(time, day(8)).sum() == CALM.rows_per_day
    assert inside(time, day(1)).sum() == 0  # nobody knows their income


def with_an_income(event: Event) -> Event:
    income = 30_000.0 + 1_000 * (hash(event.id) % 11 - 5)
    return msgspec.structs.replace(event, row={**event.row, "income": income})


# -- jobs ------------------------------------------------------------------------------------------


def test_a_retraining_that_fails_is_rejected_and_backed_off_from(world: World) -> None:
    def fail(job: Job) -> dict[str, object]:
        raise GyroscopeError("the disk is full")

    world = msgspec.structs.replace(world, executor=InlineExecutor(fail))
    live(world, CONCEPT_DRIFT.events, CHANGE_DAY - 2, CHANGE_DAY + 10)
    assert actions(world, Action.NOTICE) == [Action.ALARM, Action.RETRAIN, Action.REJECT]
    assert "the disk is full" in decided(world, Action.NOTICE)[-1].reason
    care = world.store.care(MODEL)
    assert (care.state, care.failures, care.job) == (State.SUSPECT, 1, None)
    assert [job.status for job in world.store.jobs(MODEL)] == [JobStatus.FAILED]
