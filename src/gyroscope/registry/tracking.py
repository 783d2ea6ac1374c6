"""Runs: what was tried, with which parameters, and what came out."""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

_LONGEST_PARAMETER = 500  # characters, the registry's limit is 6000


class Run:
    """An MLflow run that is under way."""

    def __init__(self, client: Any, experiment_id: str, run_id: str) -> None:
        self._client, self._experiment_id, self.id = client, experiment_id, run_id

    def parameters(self, values: Mapping[str, object]) -> None:
        """Record parameters, once for each name."""
        from mlflow.entities import Param

        texts = {name: str(value)[:_LONGEST_PARAMETER] for name, value in values.items()}
        self._client.log_batch(self.id, params=[Param(k, v) for k, v in texts.items()])

    def metrics(self, values: Mapping[str, float]) -> None:
        """Record numbers."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, 0) for name, value in values.items()]
        self._client.log_batch(self.id, metrics=metrics)

    def text(self, path: str, content: str) -> None:
        """Keep a text as the artefact ``path``."""
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary, name)
            file.write_text(content, encoding="utf-8")
            self._client.log_artifact(self.id, str(file), folder or None)

    def json(self, path: str, content: object) -> None:
        """Keep JSON values as the artefact ``path``."""
        self.text(path, json.dumps(content, indent=1, ensure_ascii=False, default=str))

    def figure(self, path: str, figure: Any) -> None:
        """Keep a matplotlib figure as the PNG artefact ``path``."""
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary, name)
            with warnings.catch_warnings():  # column names may be in any script
                warnings.filterwarnings("ignore", message="Glyph .* missing from font")
                figure.savefig(file, dpi=110)
            self._client.log_artifact(self.id, str(file), folder or None)

    def folder(self, path: str, content: Path) -> str:
        """Keep a whole folder as the artefact ``path``; returns its URI."""
        self._client.log_artifacts(self.id, str(content), path)
        uri: str = self._client.get_run(self.id).info.artifact_uri
        return f"{uri}/{path}"

    @contextmanager
    def child(self, name: str) -> Iterator[Self]:
        """A nested run, ended with the block: failed if it raises."""
        with _run(self._client, self._experiment_id, name, parent=self.id) as run_id:
            yield type(self)(self._client, self._experiment_id, run_id)


class Tracker:
    """Starts runs; each model has an experiment of its name."""

    def __init__(self, client: Any, artefacts: Path) -> None:
        self._client, self._artefacts = client, artefacts

    @contextmanager
    def run(self, model: str, name: str) -> Iterator[Run]:
        """A top-level run, ended with the block: failed if it raises."""
        experiment_id = self._experiment(model)
        with _run(self._client, experiment_id, name) as run_id:
            yield Run(self._client, experiment_id, run_id)

    def _experiment(self, model: str) -> str:
        from mlflow.exceptions import MlflowException

        if self._client.get_experiment_by_name(model) is None:
            location = (self._artefacts / model).as_uri()
            try:
                self._client.create_experiment(model, artifact_location=location)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":  # by another process just now
                    raise
        return str(self._client.get_experiment_by_name(model).experiment_id)


@contextmanager
def _run(client: Any, experiment_id: str, name: str, parent: str | None = None) -> Iterator[str]:
    tags = {"mlflow.runName": name} | ({"mlflow.parentRunId": parent} if parent else {})
    run_id: str = client.create_run(experiment_id, tags=tags).info.run_id
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)
