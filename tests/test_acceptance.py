"""The way of the README with the real command, and the machine that ``gyro up`` keeps running."""

from __future__ import annotations

import csv
import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from gyroscope.app import Workspace
from gyroscope.loop.locks import holder
from gyroscope.serve.address import read_address
from gyroscope.testing.waiting import wait_for
from gyroscope.testing.worlds import CALM, to_table

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
QUICK = {"GYROSCOPE_CANDIDATES": "[base_rate, logistic_regression]"}


class Machine:
    """A folder, and the command ``gyro`` in it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self._open: list[httpx.Client | Workspace] = []
        self.environment = {**os.environ, "COLUMNS": "300", **environment}

    def gyro(self, *words: object, code: int = 0) -> str:
        """Run a command to its end; what it wrote, standard error after standard output."""
        done = self.start(*words).communicate()
        ended = self._last
        assert ended.returncode == code, (words, ended.returncode, *done)
        assert "Traceback" not in done[1]
        return done[0] + done[1]

    def json(self, *words: object) -> Any:
        """What a command answers to programs."""
        return json.loads(self.gyro(*words, "--json"))

    def start(self, *words: object) -> subprocess.Popen[str]:
        self._last = subprocess.Popen(
            [sys.executable, "-m", "gyroscope", *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self._last

    @property
    def space(self) -> Workspace:
        """The workspace, for what no command does."""
        space = Workspace(self.folder)
        self._open.append(space)
        return space

    def close(self) -> None:
        for thing in self._open:
            thing.close()

    def processes(self, name: str = "") -> list[int]:
        """Ids of the processes that serve this folder, zombies included."""
        listed = subprocess.run(
            ["ps", "-A", "-ww", "-o", "pid=,args="], capture_output=True, text=True, check=True
        )
        rows = [row.split(maxsplit=1) for row in listed.stdout.splitlines()]
        mine = f"-m gyroscope {name}"
        return [
            int(row[0])
            for row in rows
            if len(row) == 2 and mine in row[1] and str(self.folder) in row[1]
        ]

    def server(self) -> httpx.Client | None:
        """A client of the server, if it is ready."""
        address = read_address(self.folder / ".gyroscope")
        if address is None:
            return None
        client = httpx.Client(base_url=f"http://{address.host}:{address.port}", timeout=60)
        self._open.append(client)
        try:
            return client if client.get("/readyz").status_code == 200 else None
        except httpx.TransportError:  # it has just been killed
            return None

    @contextmanager
    def up(self) -> Iterator[subprocess.Popen[str]]:
        """``gyro up`` with a server that is ready and a pilot that lives."""
        process = self.start("up", "--port", 0)
        try:
            wait_for(lambda: self.server() and self.pilot(), timeout_s=400)
            yield process
        finally:
            process.terminate()
            process.communicate()

    def pilot(self) -> int | None:
        """The process of the pilot, if there is one."""
        return holder(self.folder / ".gyroscope" / "pilot.lock")


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace after ``gyro init`` and ``gyro train`` on a small file."""
    folder = tmp_path_factory.mktemp("acceptance") / "trained"
    folder.mkdir()
    machine = Machine(folder, **QUICK)
    pyarrow.csv.write_csv(to_table(CALM.events(-10, 0)), folder / "shop.csv")
    machine.gyro("init", "shop.csv", "--target", "churned", "--time", "at", "--id", "customer")
    made = machine.json("train")
    assert made["champion"] is True
    return folder


@pytest.fixture
def machine(trained: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine of its own with the trained model."""
    folder = tmp_path / "workspace"
    shutil.copytree(trained, folder)
    machine = Machine(folder, **QUICK)
    yield machine
    machine.close()


def labelled(predictions: Path, truth: list[str], target: str) -> Path:
    """The file that ``gyro predict`` has written, with what became of the rows."""
    path = predictions.with_name("labelled.csv")
    with predictions.open(newline="") as given, path.open("w", newline="") as file:
        header, *rows = csv.reader(given)
        writer = csv.writer(file)
        writer.writerow([*header, target])
        writer.writerows([*row, label] for row, label in zip(rows, truth, strict=True))
    return path


def column(path: Path, name: str) -> list[str]:
    with path.open(newline="") as file:
        return [row[name] for row in csv.DictReader(file)]


# -- the way of the README -------------------------------------------------------------------------


def walk(machine: Machine, data: Path, target: str) -> None:
    """Predict, label, look and decide with every command, on a model that is being served."""
    out = machine.folder / "out.csv"
    truth = column(data, target)
    assert f"{len(truth):,} predictions" in machine.gyro("predict", data, out)
    told = machine.gyro("label", labelled(out, truth, target))
    assert f"{sum(map(bool, truth)):,} labels accepted, 0 for unknown" in told
    assert {f["kind"] for f in machine.json("monitor")} >= {"data quality", "performance"}
    assert machine.json("monitor", "--last", "1h")
    status = machine.json("status")
    assert status["pilot"] == machine.pilot()
    assert status["models"][0]["champion"] == 1
    assert machine.json("decisions")[0]["decision"]["action"] == "promote"
    machine.json("findings", "--all")
    assert machine.json("versions")[0]["aliases"] == ["champion"]
    verified = machine.json("verify")
    assert verified["replayed"] == {"rows": len(truth), "different": 0}
    machine.gyro("report", "--output", "report.html")
    assert "champion" in (machine.folder / "report.html").read_text()


def decide_by_hand(machine: Machine, model: str) -> None:
    """Every decision that a person can make."""
    machine.json("train")
    for words, action in (
        (("promote", model, 2, "--reason", "newer"), "promote"),
        (("rollback",), "roll back"),
        (("pause",), "pause"),
        (("resume",), "resume"),
    ):
        recorded = machine.json(*words)
        assert (recorded["decision"]["action"], recorded["status"]) == (action, "done")
    assert {d["status"] for d in machine.json("decisions")} == {"done"}
    assert machine.json("status")["models"][0]["champion"] == 1


def test_from_a_file_to_a_served_model_that_is_looked_after(machine: Machine) -> None:
    with machine.up():
        data = machine.folder / "stream.csv"
        pyarrow.csv.write_csv(to_table(CALM.events(0, 3)), data)
        walk(machine, data, "churned")
        decide_by_hand(machine, "shop")


def test_a_retraining_asked_for_by_hand_is_run_and_taken_up(machine: Machine) -> None:
    data = machine.folder / "stream.csv"
    pyarrow.csv.write_csv(to_table(CALM.events(0, 6)), data)
    with machine.up():
        machine.gyro("predict", data, "out.csv")
        truth = column(data, "churned")
        machine.gyro("label", labelled(machine.folder / "out.csv", truth, "churned"))
        machine.gyro("retrain", "--reason", "to see it done")
        ended = {"start trial", "reject"}
        wait_for(
            lambda: ended & {d["decision"]["action"] for d in machine.json("decisions")},
            timeout_s=600,
        )
        assert {d["status"] for d in machine.json("decisions")} == {"done"}


REAL = {"churn_telecom": "churn", "telco_churn_ibm": "Churn"}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", REAL)
def test_the_way_of_the_readme_on_real_data(
    name: str, shared_data: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = tmp_path / f"{name}.csv"
    data.write_bytes(gzip.decompress((shared_data / name / f"{name}.csv.gz").read_bytes()))
    machine = Machine(tmp_path)
    request.addfinalizer(machine.close)
    machine.gyro("init", data, "--target", REAL[name])
    machine.json("train")
    with machine.up():
        walk(machine, data, REAL[name])
        decide_by_hand(machine, name)


# -- bit for bit -----------------------------------------------------------------------------------


def test_ten_thousand_predictions_are_scored_again_bit_for_bit(machine: Machine) -> None:
    rows = [event.row for event in CALM.events(0, 50)]
    with machine.up():
        server = machine.server()
        assert server is not None
        for start in range(0, len(rows), 500):
            body = {"rows": rows[start : start + 500]}
            assert server.post("/v1/models/shop/predict", json=body).status_code == 200
    assert machine.json("verify")["replayed"] == {"rows": 10_000, "different": 0}
    (segment,) = (machine.folder / ".gyroscope" / "log" / "shop").glob("*.segment")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    assert "The log is damaged" in machine.gyro("verify", code=1)


# -- processes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_all_processes_stop_when_the_machine_is_told_to(
    machine: Machine, how: signal.Signals
) -> None:
    with machine.up() as up:
        assert len(machine.processes()) == 2
        up.send_signal(how)
        assert up.wait(timeout=60) == 0
        assert machine.processes() == []
    assert read_address(machine.folder / ".gyroscope") is None


def test_no_process_is_left_when_the_supervisor_is_killed(machine: Machine) -> None:
    with machine.up() as up:
        up.kill()
        wait_for(lambda: not machine.processes(), timeout_s=60)


def test_what_is_killed_is_started_again(machine: Machine) -> None:
    with machine.up():
        address = read_address(machine.folder / ".gyroscope")
        assert address is not None
        for name in ("api", "pilot"):
            (before,) = machine.processes(name)
            os.kill(before, signal.SIGKILL)
            wait_for(lambda: set(machine.processes(name)) - {before}, timeout_s=60)  # noqa: B023
        wait_for(lambda: machine.server() and machine.pilot(), timeout_s=400)
        again = read_address(machine.folder / ".gyroscope")
        assert again is not None
        assert again.port == address.port


def test_a_workspace_has_one_machine_and_one_pilot(machine: Machine) -> None:
    with machine.up():
        told = machine.gyro("up", code=1)
        assert "is serving this workspace already" in told
        assert len(told.splitlines()) == 1
        assert len(machine.processes("pilot")) == 1


def test_a_port_that_is_taken_is_said_once_and_for_all(machine: Machine) -> None:
    with machine.up():
        address = read_address(machine.folder / ".gyroscope")
        assert address is not None
        other = Machine(machine.folder.parent / "other", **QUICK)
        shutil.copytree(machine.folder, other.folder, ignore=shutil.ignore_patterns("*.lock"))
        told = other.gyro("up", "--port", address.port, code=2)
    assert f"cannot listen on 127.0.0.1 port {address.port}" in told
    assert told.splitlines()[-1].startswith("gyro: api cannot be started")
    assert other.processes() == []


class Load:
    """Clients that predict without a pause until they are stopped."""

    def __init__(self, server: httpx.Client, row: dict[str, Any]) -> None:
        self._server, self._row = server, row
        self.failures: list[str] = []
        self.versions: list[int] = []
        self._stopping = threading.Event()

    @contextmanager
    def running(self, clients: int = 4) -> Iterator[None]:
        with ThreadPoolExecutor(clients) as threads:
            for _ in range(clients):
                threads.submit(self._predict)
            yield
            self._stopping.set()

    def _predict(self) -> None:
        while not self._stopping.is_set():
            try:
                answer = self._server.post("/v1/models/shop/predict", json={"row": self._row})
                self.versions.append(answer.raise_for_status().json()["version"])
            except httpx.HTTPError as error:
                self.failures.append(repr(error))


def test_no_request_fails_while_champions_change(machine: Machine) -> None:
    machine.json("train")
    with machine.up():
        server = machine.server()
        assert server is not None
        load = Load(server, dict(CALM.events(0, 1)[0].row))

        def serving(version: int) -> Callable[[], bool]:
            return lambda: load.versions[-1:] == [version]

        with load.running():
            wait_for(serving(1))
            machine.gyro("promote", "shop", 2)
            wait_for(serving(2))
            machine.space.registry.set_alias("shop", "champion", 1)  # as MLflow's own tools do
            wait_for(serving(1))
        assert load.failures == []
        assert set(load.versions) == {1, 2}


# -- errors ----------------------------------------------------------------------------------------


def test_every_mistake_is_one_line_and_an_exit_code(machine: Machine, tmp_path: Path) -> None:
    empty = Machine(tmp_path / "empty")
    empty.folder.mkdir()
    mistakes: list[tuple[Machine, int, str, tuple[object, ...]]] = [
        (empty, 2, "no gyroscope.yaml in", ("train",)),
        (empty, 2, "no gyroscope.yaml in", ("up",)),
        (machine, 1, "no model 'shopp'", ("monitor", "shopp")),
        (machine, 1, "no model 'shopp'", ("promote", "shopp", 1)),
        (machine, 1, "has no version 9", ("promote", "shop", 9)),
        (machine, 2, "is champion already", ("promote", "shop", 1)),
        (machine, 1, "no previous champion", ("rollback",)),
        (machine, 1, "no prediction of shop is logged yet", ("monitor",)),
        (machine, 1, "no server runs in this workspace", ("predict", "shop.csv", "out.csv")),
        (machine, 1, "no server runs in this workspace", ("label", "shop.csv")),
    ]
    for where, code, message, words in mistakes:
        told = where.gyro(*words, code=code)
        assert message in told
        assert len(told.splitlines()) == 1, told


def test_a_model_without_a_champion_says_what_to_do(machine: Machine) -> None:
    machine.space.registry.remove_alias("shop", "champion")
    assert "train one with: gyro train shop" in machine.gyro("monitor", code=1)
    assert "run: gyro train shop" in machine.gyro("retrain", code=1)


def test_broken_settings_are_one_line(machine: Machine) -> None:
    path = machine.folder / "gyroscope.yaml"
    path.write_text(path.read_text() + "\n  nonsense: [\n")
    for command in ("status", "train", "up", "pilot"):
        assert "gyroscope.yaml is not valid YAML" in machine.gyro(command, code=2)


def test_a_damaged_bundle_is_one_line_and_never_served(machine: Machine) -> None:
    machine.json("train")
    second = machine.space.registry.bundle_folder("shop", 2)
    (second / "contract.json").write_text("{}")
    told = machine.gyro("promote", "shop", 2, code=1)
    assert "contract.json" in told
    assert len(told.splitlines()) == 1
    assert machine.json("status")["models"][0]["champion"] == 1


def test_a_retraining_whose_snapshot_is_gone_fails_with_a_reason(machine: Machine) -> None:
    shutil.rmtree(machine.folder / ".gyroscope" / "snapshots")
    with machine.up():
        machine.gyro("retrain")

        def rejected() -> list[str]:
            recorded = [d["decision"] for d in machine.json("decisions")]
            return [d["reason"] for d in recorded if d["action"] == "reject"]

        (reason,) = wait_for(rejected, timeout_s=400)
    assert "no snapshot" in reason
    assert "train on the data again" in reason


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_log_that_cannot_be_written_refuses_predictions(machine: Machine) -> None:
    folder = machine.folder / ".gyroscope" / "log"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o500)
    with machine.up():
        told = machine.gyro("predict", "shop.csv", "out.csv", code=1)
    folder.chmod(0o700)
    assert "log" in told


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_several_classes_and_numbers_go_the_whole_way(tmp_path: Path, task: str) -> None:
    machine = Machine(tmp_path, GYROSCOPE_CANDIDATES="[base_rate, lightgbm]")
    random = np.random.default_rng(0)
    size = random.normal(size=1500)
    number = 250_000 + 40_000 * size + 10_000 * random.normal(size=1500)
    kinds = np.array(["ash", "elm", "oak"])[np.digitize(number, [230_000, 270_000])]
    target = kinds if task == "multiclass" else number.round(2)
    pyarrow.csv.write_csv(
        pa.table({"id": range(1500), "size": size, "outcome": target}), tmp_path / "data.csv"
    )
    made = machine.json("init", "data.csv", "--target", "outcome", "--id", "id")
    assert (made["task"], made["classes"]) == (
        (task, ["ash", "elm", "oak"]) if task == "multiclass" else (task, [])
    )
    assert machine.json("train")["champion"] is True
    with machine.up():
        machine.gyro("predict", "data.csv", "out.csv")
        labels = labelled(tmp_path / "out.csv", [str(value) for value in target], "outcome")
        assert "1,500 labels accepted" in machine.gyro("label", labels)
        with (tmp_path / "out.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        if task == "multiclass":
            right = [row["prediction"] == kind for row, kind in zip(rows, kinds, strict=True)]
            assert np.mean(right) > 0.7
            assert {"probability", "probability_ash", "probability_oak"} <= set(rows[0])
        else:
            errors = np.array([float(row["prediction"]) for row in rows]) - number
            assert np.sqrt(np.mean(errors**2)) < 15_000
    assert "1,500 logged predictions scored again, 0 differ" in machine.gyro("verify")
    assert "performance" in machine.gyro("monitor", code=0)
    machine.close()
