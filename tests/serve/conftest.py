"""A small model with every type of column, and a server around it without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import numpy as np
import pytest

from gyroscope.bundle.additive import AdditiveScorer
from gyroscope.bundle.bundle import Bundle, Manifest
from gyroscope.bundle.deployment import Deployed, Deployment
from gyroscope.bundle.keys import Keys, keys_folder
from gyroscope.bundle.links import Link
from gyroscope.bundle.reference import Reference
from gyroscope.data.cells import ProfileSpec
from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.profile import Profile
from gyroscope.serve.app import Application, create_app
from gyroscope.serve.champions import ServedModel
from gyroscope.stats.excess_loss import ExcessReference

T = TypeVar("T")

_NO_COLUMNS = Profile(spec=ProfileSpec(columns=()), n=0, columns=())

CONTRACT = Contract(
    columns=(
        Column(name="age", type=ColumnType.INTEGER, limits=(0, 120), seen=(18, 95), unit="years"),
        Column(name="balance", type=ColumnType.NUMBER, nullable=True, missing=("?",)),
        Column(name="job", type=ColumnType.CATEGORY, categories=("clerk", "nurse", "smith")),
        Column(
            name="town",
            type=ColumnType.CATEGORY,
            categories=("Ulm", "Bern: old town"),
            unknown="other",
        ),
        Column(name="owner", type=ColumnType.BOOLEAN, true=("yes",), false=("no",)),
        Column(name="joined", type=ColumnType.DATETIME, nullable=True),
        Column(name="at", type=ColumnType.DATETIME, role=Role.TIME),
        Column(name="customer", type=ColumnType.TEXT, role=Role.ID),
        Column(name="sex", type=ColumnType.CATEGORY, role=Role.SENSITIVE, categories=("f", "m")),
        Column(name="note", type=ColumnType.TEXT, role=Role.IGNORED),
        Column(name="churned", type=ColumnType.CATEGORY, role=Role.TARGET),
    ),
    positive=("yes",),
    negative=("no", "never"),
)
N_FEATURES = len(CONTRACT.features)
ROW: dict[str, Any] = {
    "age": 41,
    "balance": 1250.75,
    "job": "nurse",
    "town": "Bern: old town",
    "owner": True,
    "joined": "2024-05-01T08:00:00Z",
}


def small_bundle(seed: int = 0, *, model: str = "churn", balance_scale: float = 1e-4) -> Bundle:
    """A linear model with random weights; the same for the same seed."""
    random = np.random.default_rng(seed)
    scale = np.array([0.02, balance_scale, 0.0, 0.0, 0.5, 1e-10])
    tables = [None, None, random.normal(size=4), random.normal(size=3), None, None]
    scorer = AdditiveScorer(
        intercept=float(random.normal()),
        slopes=random.normal(size=N_FEATURES) * scale,
        missing=random.normal(size=N_FEATURES),
        expected=random.normal(size=N_FEATURES) * 0.1,
        tables=tables,
    )
    manifest = Manifest(
        model=model,
        family="logistic_regression",
        scorer=AdditiveScorer.kind,
        link="logistic",
        threshold=0.5,
        metrics={"roc_auc": 0.75},
        snapshot="0" * 64,
    )
    return Bundle(
        manifest=manifest,
        contract=CONTRACT,
        scorer=scorer,
        link=Link(kind="logistic"),
        reference=Reference(
            columns=_NO_COLUMNS,
            scores=_NO_COLUMNS,
            n=0,
            positives=0,
            metrics={},
            excess=ExcessReference(),
        ),
    )


def deploy(
    state: Path, version: int, *, model: str = "churn", bundle: Bundle | None = None
) -> Path:
    """Deploy a bundle, by default one with the version as seed, and return its folder.

    The folder of a version that was deployed before stays as it is.
    """
    folder = state / "bundles" / f"{model}-{version}"
    if not folder.exists():
        made = bundle or small_bundle(version, model=model)
        made.save(folder, signer=Keys(keys_folder(state)).signer())
    deployment = Deployment(state / "serving" / model)
    before = deployment.read()
    deployment.write(
        Deployed(model=model, version=version, bundle=str(folder)),
        None if before is None else before.champion,
    )
    return folder


class Served:
    """An application that has been started, asked without a socket."""

    def __init__(
        self,
        app: Application,
        headers: dict[str, str] | None = None,
        *,
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    ) -> None:
        self.state = app.state
        self.watch = app.watch
        self.app = app
        self._headers = headers or {}
        self._runner = asyncio.Runner(loop_factory=loop_factory)
        self._to_app: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        self._from_app: asyncio.Queue[Any] = asyncio.Queue()

    def __enter__(self) -> Self:
        self._runner.run(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._stop())
        self._runner.close()

    async def _start(self) -> None:
        lifespan = self.app({"type": "lifespan"}, self._to_app.get, self._from_app.put)
        self._lifespan = asyncio.create_task(lifespan)
        await self._to_app.put({"type": "lifespan.startup"})
        assert (await self._from_app.get())["type"] == "lifespan.startup.complete"
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app), base_url="http://localhost"
        )

    async def _stop(self) -> None:
        await self.client.aclose()
        await self._to_app.put({"type": "lifespan.shutdown"})
        await self._lifespan

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine where the server runs."""
        return self._runner.run(work)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        options["headers"] = {**self._headers, **options.get("headers", {})}
        return self.run(self.client.request(method, path, **options))

    def predict(self, body: Any = None, *, model: str = "churn") -> httpx.Response:
        """Ask for a prediction: ``bytes`` are sent as they are, anything else as JSON."""
        return self._send(f"/v1/models/{model}/predict", {"row": ROW} if body is None else body)

    def label(self, body: Any, *, model: str = "churn") -> httpx.Response:
        return self._send(f"/v1/models/{model}/labels", body)

    def _send(self, path: str, body: Any) -> httpx.Response:
        if isinstance(body, bytes):
            return self.post(path, content=body, headers={"content-type": "application/json"})
        return self.post(path, json=body)

    def model(self, name: str) -> ServedModel:
        """The model as the application holds it."""
        return self.app.models[name]

    def serves(self, name: str) -> bool:
        return any(model.name == name and model.champion for model in self.app.models)

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Let the server run until something is true; the test's own timeout ends it otherwise."""

        async def wait() -> None:
            while not true():
                await asyncio.sleep(0.01)

        self.run(wait())


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with version 1 of one model deployed."""
    deploy(tmp_path, 1)
    return tmp_path


@pytest.fixture
def served(state: Path) -> Iterator[Served]:
    with Served(create_app(state)) as server:
        yield server


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all tests of a module, and for many examples."""
    state = tmp_path_factory.mktemp("state")
    deploy(state, 1)
    with Served(create_app(state)) as server:
        yield server
