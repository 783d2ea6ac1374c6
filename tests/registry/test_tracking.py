from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gyroscope.registry.tracking import Tracker


def artefacts(client: Any, run_id: str, folder: str | None = None) -> list[str]:
    return [entry.path for entry in client.list_artifacts(run_id, folder)]


def test_a_run_keeps_parameters_metrics_and_files(
    tracker: Tracker, client: Any, model: str
) -> None:
    with tracker.run(model, "train") as run:
        run.parameters({"depth": 3, "long": "x" * 600, "none": None})
        run.metrics({"auc": 0.75, "auc.low": 0.7})
        run.text("notes/today.md", "# Grüße")
        run.json("contract.json", {"a": ["☃"]})
    found = client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "train"
    assert found.data.params == {"depth": "3", "long": "x" * 500, "none": "None"}
    assert found.data.metrics == {"auc": 0.75, "auc.low": 0.7}
    assert artefacts(client, run.id) == ["contract.json", "notes"]
    kept = Path(client.download_artifacts(run.id, "contract.json"))
    assert json.loads(kept.read_text(encoding="utf-8")) == {"a": ["☃"]}
    assert client.get_experiment(found.info.experiment_id).name == model


def test_children_are_nested_below_their_run(tracker: Tracker, client: Any, model: str) -> None:
    with tracker.run(model, "train") as run, run.child("split") as child, child.child("x") as leaf:
        pass
    parents = [client.get_run(r.id).data.tags.get("mlflow.parentRunId") for r in (run, child, leaf)]
    assert parents == [None, run.id, child.id]


def test_a_run_that_raises_has_failed_and_so_have_those_around_it(
    tracker: Tracker, client: Any, model: str
) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        tracker.run(model, "train") as run,
        run.child("split") as child,
    ):
        1 / 0  # noqa: B018
    assert [client.get_run(r.id).info.status for r in (run, child)] == ["FAILED", "FAILED"]


def test_a_figure_is_kept_whatever_script_its_words_are_in(
    tracker: Tracker, client: Any, model: str
) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().set_title("年齢 😀")
    with tracker.run(model, "train") as run:
        run.figure("plots/roc.png", figure)
    kept = Path(client.download_artifacts(run.id, "plots/roc.png"))
    assert kept.read_bytes().startswith(b"\x89PNG")


def test_many_may_begin_the_first_run_of_a_model_at_once(
    tracker: Tracker, client: Any, model: str
) -> None:
    def begin(number: int) -> str:
        with tracker.run(model, f"run {number}") as run:
            return run.id

    with ThreadPoolExecutor(4) as threads:
        ids = set(threads.map(begin, range(8)))
    assert len(ids) == 8
    assert len({client.get_run(run_id).info.experiment_id for run_id in ids}) == 1
