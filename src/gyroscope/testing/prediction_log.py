"""The contract of a prediction log as tests: subclass it for an implementation of your own.

>>> class TestMyLog(PredictionLogContract):  # doctest: +SKIP
...     def open_log(self, folder: Path) -> PredictionLog:
...         return MyLog(folder)

An implementation that keeps its records on disk subclasses :class:`DurableLogContract` instead,
which has more tests. pytest must be installed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import structs

from gyroscope.errors import LogError
from gyroscope.findings import Window
from gyroscope.model import Label, Prediction, Value
from gyroscope.prediction_log.base import PredictionLog

MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
ROW: Mapping[str, Value] = {"age": 40, "city": "Lund"}


def at(hours: float) -> datetime:
    """A time so many hours after :data:`MIDNIGHT`."""
    return MIDNIGHT + timedelta(hours=hours)


def prediction(
    name: str = "a",
    *,
    hour: float = 0.0,
    arrival_hour: float | None = None,
    version: int = 1,
    score: float = 0.5,
    entity: str | None = None,
    row: Mapping[str, Value] = ROW,
) -> Prediction:
    """A prediction with event time ``hour``, which has arrived then unless told otherwise."""
    return Prediction(
        id=name,
        version=version,
        time=at(hour),
        arrival=at(hour if arrival_hour is None else arrival_hour),
        columns=tuple(row),
        row=tuple(row.values()),
        score=score,
        entity=entity,
    )


def label(name: str = "a", value: Value = 1, *, hour: float = 0.0) -> Label:
    """A label for the prediction ``name`` that became true and arrived at ``hour``."""
    return Label(prediction_id=name, label=value, time=at(hour), arrival=at(hour))


class PredictionLogContract:
    """What holds for every prediction log."""

    def open_log(self, folder: Path) -> PredictionLog:
        """The log under test; whatever it keeps on disk it keeps in ``folder``."""
        raise NotImplementedError

    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[PredictionLog]:
        """An empty log, closed after the test."""
        with opened(self, tmp_path / "log") as log:
            yield log

    def test_an_empty_log_has_no_rows_and_no_span(self, log: PredictionLog) -> None:
        """Nothing written, nothing read."""
        log.append([])
        log.append_labels([])
        assert log.read().predictions == ()
        assert log.read().labels == ()
        assert log.span() is None
        assert log.known(["a"]) == set()

    def test_a_prediction_comes_back_as_it_was_written(self, log: PredictionLog) -> None:
        """Values keep their types: true is not 1, and 1 is not 1.0."""
        row: dict[str, Value] = {"t": True, "i": 1, "f": 1.0, "none": None, "text": "Łódź \0 🌋"}
        written = prediction("a", version=7, score=0.1 + 0.2, entity="customer 9", row=row)
        log.append([written])
        (read,) = log.read().predictions
        assert read == written
        assert [type(value) for value in read.row] == [bool, int, float, type(None), str]

    def test_rows_come_in_order_of_time_and_then_id(self, log: PredictionLog) -> None:
        """Whatever the order they were written in."""
        log.append([prediction("c", hour=2), prediction("b", hour=1)])
        log.append([prediction("a", hour=2), prediction("d", hour=0)])
        assert [p.id for p in log.read().predictions] == ["d", "b", "a", "c"]

    def test_a_window_holds_its_start_and_not_its_end(self, log: PredictionLog) -> None:
        """Windows are half-open, to the microsecond."""
        microsecond = 1 / 3.6e9
        hours = {"before": 1 - microsecond, "start": 1, "last": 2 - microsecond, "end": 2}
        log.append([prediction(name, hour=hour) for name, hour in hours.items()])
        read = log.read(Window(at(1), at(2)))
        assert [p.id for p in read.predictions] == ["start", "last"]
        assert log.read(Window(at(1), at(1))).predictions == ()

    def test_one_append_may_mix_versions_and_columns(self, log: PredictionLog) -> None:
        """Each row keeps its own."""
        written = (
            prediction("a", hour=0, row={"age": 3}),
            prediction("b", hour=1, version=2, row={"age": 4}),
            prediction("c", hour=2, row={"age": 5, "city": "Graz"}),
            prediction("d", hour=3, row={"city": "Bern"}),
        )
        log.append(written)
        assert log.read().predictions == written

    def test_thousands_of_rows_in_one_append_are_all_there(self, log: PredictionLog) -> None:
        """However the implementation cuts them up."""
        written = [prediction(f"{i:05}", hour=i / 60, row={"n": i}) for i in range(5000)]
        log.append(written)
        log.append_labels([label(p.id, i) for i, p in enumerate(written)])
        read = log.read()
        assert list(read.predictions) == written
        assert [found and found.label for found in read.labels] == list(range(5000))
        window = Window(at(10), at(11))
        assert list(log.read(window).predictions) == written[600:660]

    def test_of_a_prediction_written_twice_the_first_counts(self, log: PredictionLog) -> None:
        """A client that tries again does not make two rows."""
        log.append([prediction("a", hour=1, score=0.1)])
        log.append([prediction("a", hour=1, score=0.2), prediction("b", hour=1)])
        log.append([prediction("b", hour=1, score=0.9), prediction("b", hour=1, score=0.8)])
        assert [(p.id, p.score) for p in log.read().predictions] == [("a", 0.1), ("b", 0.5)]

    def test_a_retry_with_another_time_is_in_no_other_window(self, log: PredictionLog) -> None:
        """The first arrival says when the event was."""
        log.append([prediction("a", hour=1)])
        log.append([prediction("a", hour=5)])
        assert log.read(Window(at(4), at(6))).predictions == ()
        assert len(log.read(Window(at(0), at(2))).predictions) == 1

    def test_the_first_to_arrive_counts_even_if_written_later(self, log: PredictionLog) -> None:
        """Two servers may write the same request in either order."""
        log.append([prediction("a", arrival_hour=2, score=0.2)])
        log.append([prediction("a", arrival_hour=1, score=0.1)])
        assert [p.score for p in log.read().predictions] == [0.1]

    def test_labels_join_the_predictions_they_name(self, log: PredictionLog) -> None:
        """None where no label has arrived; labels for unknown ids are ignored."""
        log.append([prediction("a", hour=1), prediction("b", hour=2)])
        log.append_labels([label("b", "yes", hour=30), label("stranger", "no", hour=30)])
        assert log.read().labels == (None, label("b", "yes", hour=30))

    def test_a_label_may_arrive_before_its_prediction_is_seen(self, log: PredictionLog) -> None:
        """It joins when the prediction is there."""
        log.append_labels([label("a", 1)])
        assert log.read().predictions == ()
        log.append([prediction("a")])
        assert log.read().labels == (label("a", 1),)

    def test_a_later_label_corrects_an_earlier_one(self, log: PredictionLog) -> None:
        """By arrival, and among equal arrivals by the order written."""
        log.append([prediction("a", hour=0), prediction("b", hour=1)])
        log.append_labels([label("a", "second", hour=9), label("b", "first", hour=9)])
        log.append_labels([label("a", "first", hour=8), label("b", "second", hour=9)])
        assert [found and found.label for found in log.read().labels] == ["second", "second"]

    def test_all_arrivals_of_labels_are_kept(self, log: PredictionLog) -> None:
        """Corrected ones too, by arrival, and among equal arrivals by the order written."""
        log.append([prediction("a")])
        log.append_labels([label("a", "third", hour=9), label("b", "other", hour=7)])
        log.append_labels([label("a", "second", hour=8), label("a", "fourth", hour=9)])
        found = [arrived.label for arrived in log.arrivals("a")]
        assert found == ["second", "third", "fourth"]
        assert log.arrivals("c") == ()

    def test_as_of_hides_labels_that_arrived_later(self, log: PredictionLog) -> None:
        """What was known at a moment can be seen again; the moment itself is included."""
        log.append([prediction("a")])
        log.append_labels([label("a", "early", hour=8), label("a", "late", hour=9)])
        seen = {hour: log.read(as_of=at(hour)).labels[0] for hour in (7.9, 8, 8.9, 9)}
        assert {hour: found and found.label for hour, found in seen.items()} == {
            7.9: None,
            8: "early",
            8.9: "early",
            9: "late",
        }

    def test_known_says_which_ids_were_predicted(self, log: PredictionLog) -> None:
        """A label alone does not make an id known."""
        log.append([prediction("a"), prediction("b")])
        log.append_labels([label("c")])
        assert log.known(["a", "c", "b", "a", ""]) == {"a", "b"}
        assert log.known([]) == set()

    def test_any_time_that_a_client_can_write_has_its_place(self, log: PredictionLog) -> None:
        """The first and the last moment there are, too."""
        ends = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
        log.append([structs.replace(prediction(str(end)), time=end) for end in ends])
        assert log.span() == Window(*ends)
        assert [p.time for p in log.read().predictions] == ends
        assert len(log.times()) == 2

    def test_the_times_of_a_window_come_in_order_in_microseconds(self, log: PredictionLog) -> None:
        """A retry counts again; the window holds its start and not its end."""
        assert log.times().tolist() == []
        log.append([prediction("c", hour=3), prediction("a", hour=1)])
        log.append([prediction("b", hour=2), prediction("a", hour=1)])
        since_1970 = [round(at(hour).timestamp() * 1e6) for hour in (1, 1, 2, 3)]
        assert log.times().tolist() == since_1970
        assert log.times(Window(at(2), at(3))).tolist() == since_1970[2:3]

    def test_the_span_reaches_just_past_the_last_event(self, log: PredictionLog) -> None:
        """So that the span as a window holds every row."""
        log.append([prediction("b", hour=3), prediction("a", hour=1)])
        span = log.span()
        assert span == Window(at(1), at(3) + timedelta(microseconds=1))
        assert len(log.read(span).predictions) == 2

    def test_what_cannot_be_logged_is_refused_whole_and_named(self, log: PredictionLog) -> None:
        """A time without zone, say; the rest of the append is not written either."""
        naive = Prediction(
            id="bad",
            version=1,
            time=datetime(2026, 3, 1),  # noqa: DTZ001  the mistake under test
            arrival=MIDNIGHT,
            columns=("age",),
            row=(1,),
            score=0.5,
        )
        with pytest.raises(LogError, match="prediction 'bad' cannot be logged"):
            log.append([prediction("good"), naive])
        assert log.read().predictions == ()
        log.append([prediction("good")])
        assert log.known(["good", "bad"]) == {"good"}

    def test_threads_may_append_at_once(self, log: PredictionLog) -> None:
        """Nothing is lost between them."""
        names = [[f"{thread}-{i}" for i in range(50)] for thread in range(4)]

        def append(some: list[str]) -> None:
            for name in some:
                log.append([prediction(name)])

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(append, names))
        assert {p.id for p in log.read().predictions} == {name for some in names for name in some}

    def test_a_closed_log_refuses_everything(self, log: PredictionLog) -> None:
        """With an error of its own, twice closed or not."""
        log.close()
        log.close()
        for use in (
            lambda: log.append([prediction("a")]),
            lambda: log.append_labels([label("a")]),
            log.read,
            log.span,
            log.times,
            lambda: log.known(["a"]),
            lambda: log.arrivals("a"),
        ):
            with pytest.raises(LogError, match="closed"):
                use()


class DurableLogContract(PredictionLogContract):
    """What holds besides for a prediction log that outlives its process."""

    def test_what_was_written_is_there_when_opened_again(self, tmp_path: Path) -> None:
        """Also twice, and after more was written."""
        for number in range(3):
            with opened(self, tmp_path) as log:
                assert len(log.read().predictions) == number
                log.append([prediction(f"{number}", hour=number)])
                log.append_labels([label(f"{number}", number, hour=number)])
        with opened(self, tmp_path) as log:
            assert [found and found.label for found in log.read().labels] == [0, 1, 2]

    def test_one_instance_reads_what_another_goes_on_writing(self, tmp_path: Path) -> None:
        """As the loop reads what servers write."""
        with opened(self, tmp_path) as reader, opened(self, tmp_path) as writer:
            for number in range(5):
                writer.append([prediction(f"{number}", hour=number)])
                assert len(reader.read().predictions) == number + 1
                assert reader.known([f"{number}"])
            writer.append_labels([label("3", "yes")])
            assert [found and found.label for found in reader.read().labels][3] == "yes"

    def test_instances_may_write_in_turn(self, tmp_path: Path) -> None:
        """Retries and corrections count across them."""
        with opened(self, tmp_path) as one, opened(self, tmp_path) as two:
            one.append([prediction("a", hour=1, score=0.1)])
            two.append([prediction("a", hour=1, arrival_hour=1.1, score=0.2)])
            two.append_labels([label("a", "wrong", hour=2)])
            one.append_labels([label("a", "right", hour=3)])
            for log in (one, two):
                read = log.read()
                assert [p.score for p in read.predictions] == [0.1]
                assert read.labels == (label("a", "right", hour=3),)


@contextmanager
def opened(contract: PredictionLogContract, folder: Path) -> Iterator[PredictionLog]:
    """A log of the implementation under test, closed at the end."""
    log = contract.open_log(folder)
    try:
        yield log
    finally:
        log.close()
