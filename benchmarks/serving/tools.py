"""The servers, how each is prepared and started, and how it is asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.environments import python_for
from benchmarks.serving.world import (
    Row,
    mlflow_body,
    open_inference_body,
    our_body,
    plain_body,
)

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements"
PORT = 8717


class Tool(NamedTuple):
    """A server."""

    environment: str  # whose interpreter it runs with; empty for this one
    form: str  # in which the pipeline is saved for it; empty for our bundle
    serve: Callable[[Path, str], list[str]]  # the command, from the folder and the interpreter
    path: str
    body: Callable[[list[Row]], bytes]
    explains: bool = False


def _ours(*more: str) -> Callable[[Path, str], list[str]]:
    def command(folder: Path, python: str) -> list[str]:
        return [python, str(HERE / "our_server.py"), str(folder / "state"), str(PORT), *more]

    return command


def _uvicorn(folder: Path, python: str) -> list[str]:
    app = ["peer_fastapi:app", "--app-dir", str(HERE), "--no-access-log"]
    return [python, "-m", "uvicorn", *app, "--port", str(PORT), "--workers", "1"]


def _bentoml(folder: Path, python: str) -> list[str]:
    service = ["serve", "peer_bentoml:Shop", "--working-dir", str(HERE)]
    return [python, "-m", "bentoml", *service, "--port", str(PORT), "--host", "127.0.0.1"]


def _mlflow(folder: Path, python: str) -> list[str]:
    model = ["models", "serve", "--model-uri", str(folder / "mlflow"), "--env-manager", "local"]
    return [python, "-m", "mlflow", *model, "--port", str(PORT), "--workers", "1"]


def _mlserver(folder: Path, python: str) -> list[str]:
    """MLServer without processes for inference: one worker, as of all others."""
    settings = {"host": "127.0.0.1", "http_port": PORT, "parallel_workers": 0, "debug": False}
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {
        "name": "shop",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": str(folder / "model.joblib")},
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    return [str(Path(python).with_name("mlserver")), "start", str(folder)]


PREDICT = "/v1/models/shop/predict"
TOOLS = {
    "echo floor": Tool("", "", _ours("echo"), PREDICT, partial(our_body, explain=0)),
    "gyroscope": Tool("", "", _ours(), PREDICT, partial(our_body, explain=0)),
    "gyroscope + top 6": Tool("", "", _ours(), PREDICT, partial(our_body, explain=6), True),
    "mlflow": Tool("mlflow", "mlflow", _mlflow, "/invocations", mlflow_body),
    "mlserver": Tool("mlserver", "joblib", _mlserver, "/v2/models/shop/infer", open_inference_body),
    "bentoml": Tool("bentoml", "joblib", _bentoml, "/predict", plain_body),
    "fastapi": Tool("fastapi", "joblib", _uvicorn, "/predict", plain_body),
    "fastapi + shap": Tool("fastapi", "joblib", _uvicorn, "/predict", plain_body, True),
}


def interpreter(tool: Tool) -> str:
    """The interpreter of a tool; raises subprocess.CalledProcessError."""
    return python_for(tool.environment, REQUIREMENTS) if tool.environment else sys.executable
