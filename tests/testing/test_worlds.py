from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from gyroscope.bundle.bundle import Bundle
from gyroscope.data.training_set import load_training_set
from gyroscope.testing.worlds import (
    CALM,
    CAST,
    CHANGE_DAY,
    CONCEPT_DRIFT,
    CONTRACT,
    COVARIATE_DRIFT,
    LATE_LABELS,
    World,
    day,
    logged,
    tiny_bundle,
    to_table,
)


@pytest.mark.parametrize("world", CAST, ids=lambda world: world.name)
def test_any_stretch_of_a_world_is_the_same_each_time(world: World) -> None:
    whole = world.events(CHANGE_DAY - 2, CHANGE_DAY + 2)
    assert whole[world.rows_per_day :] == world.events(CHANGE_DAY - 1, CHANGE_DAY + 2)
    assert all(event.time in day(CHANGE_DAY - 2) for event in whole[: world.rows_per_day])
    assert [event.time for event in whole] == sorted(event.time for event in whole)


@pytest.mark.parametrize("world", CAST, ids=lambda world: world.name)
def test_outcomes_come_as_often_as_the_chances_say(world: World) -> None:
    events = world.events(CHANGE_DAY, CHANGE_DAY + 20)
    chances = np.array([event.chance for event in events])
    positive = np.array([event.label == "yes" for event in events])
    error = np.sqrt((chances * (1 - chances)).sum()) / len(events)
    assert abs(positive.mean() - chances.mean()) < 4 * error


def test_a_table_of_a_world_encodes_to_the_same_bits_as_its_rows() -> None:
    events = CALM.events(0, 3)
    loaded = load_training_set(to_table(events), CONTRACT)
    rows = tiny_bundle().encoder.encode_rows([event.row for event in events])
    assert loaded.rows.X.tobytes() == rows.tobytes()
    assert (loaded.unfit, loaded.unlabelled) == (0, 0)


def chances_of(world: World, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """True chances and what the tiny bundle says, for some days."""
    events = world.events(first, last)
    predictions, _ = logged(events, tiny_bundle(), version=1)
    return np.array([e.chance for e in events]), np.array([p.score for p in predictions])


def test_the_tiny_bundle_knows_the_chances_until_the_concept_changes() -> None:
    for world in (CALM, COVARIATE_DRIFT, LATE_LABELS):
        truth, scores = chances_of(world, CHANGE_DAY - 1, CHANGE_DAY + 2)
        np.testing.assert_array_equal(truth, scores)
    truth, scores = chances_of(CONCEPT_DRIFT, CHANGE_DAY - 1, CHANGE_DAY)
    np.testing.assert_array_equal(truth, scores)
    truth, scores = chances_of(CONCEPT_DRIFT, CHANGE_DAY, CHANGE_DAY + 2)
    assert np.abs(truth - scores).mean() > 0.2


def test_noise_makes_a_worse_model() -> None:
    losses = [tiny_bundle(noise=noise).manifest.metrics["log_loss"] for noise in (0, 0.3, 1)]
    assert losses == sorted(losses)
    assert losses[0] < losses[2] - 0.02


def test_customers_grow_older_where_covariates_drift() -> None:
    def mean_age(number: int) -> float:
        return float(np.mean([e.row["age"] for e in COVARIATE_DRIFT.events(number, number + 3)]))

    assert mean_age(CHANGE_DAY) - mean_age(CHANGE_DAY - 3) == pytest.approx(12, abs=2)


def test_late_labels_come_days_later_or_never() -> None:
    events = LATE_LABELS.events(0, 10)
    lags = [e.labelled - e.time for e in events if e.labelled is not None]
    assert sum(lags, timedelta()) > len(lags) * timedelta(days=5)
    assert 1 - len(lags) / len(events) == pytest.approx(LATE_LABELS.unknown, abs=0.03)
    _, labels = logged(events, tiny_bundle(), version=3)
    assert [label.arrival for label in labels] == sorted(
        e for e in (x.labelled for x in events) if e
    )


@pytest.mark.parametrize("kind", ["additive", "trees"])
def test_a_tiny_bundle_can_be_saved_and_loaded(kind: str, tmp_path: Path) -> None:
    bundle = tiny_bundle(kind=kind, model="fraud")
    bundle.save(tmp_path / "bundle")
    loaded = Bundle.load(tmp_path / "bundle")
    X = bundle.encoder.encode_rows([event.row for event in CALM.events(0, 1)])
    np.testing.assert_array_equal(bundle.probabilities(X), loaded.probabilities(X))
    assert loaded.manifest.model == "fraud"
    assert loaded.reference == bundle.reference
