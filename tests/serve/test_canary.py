"""A canary beside the champion: split by entity, on record by row, refused without harm."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serve.conftest import ROW, Served, deploy, small_bundle
from tests.serve.test_server import PREDICT, Process, wait_until

from gyroscope.bundle.deployment import Canary, Deployed, Deployment
from gyroscope.bundle.keys import Keys, keys_folder
from gyroscope.bundle.split import Split
from gyroscope.model import Prediction
from gyroscope.prediction_log.file_log import FileLog
from gyroscope.serve.app import create_app
from gyroscope.serve.champions import ModelTable

NAMES = [f"c{i}" for i in range(200)]
ROWS = [{**ROW, "customer": name} for name in NAMES]


def place(state: Path, version: int) -> Deployed:
    """A signed bundle with the version as seed."""
    folder = state / "bundles" / f"churn-{version}"
    if not folder.exists():
        small_bundle(version).save(folder, signer=Keys(keys_folder(state)).signer())
    return Deployed(model="churn", version=version, bundle=str(folder))


def split(state: Path, percent: float | None, *, champion: int = 1, canary: int = 2) -> None:
    """Deploy a canary with its share beside a champion; None ends it."""
    beside = None if percent is None else Canary(deployed=place(state, canary), percent=percent)
    Deployment(state / "serving" / "churn").write(place(state, champion), None, beside)


def start(served: Served, percent: float) -> None:
    split(served.state, percent)

    def serves() -> bool:
        canary = served.model("churn").answering().canary
        return canary is not None and canary.canary.percent == percent

    served.wait_until(serves)


def is_champion(served: Served, version: int) -> bool:
    return served.model("churn").current().version == version


def versions(answer: dict[str, Any]) -> list[int]:
    return [row.get("version", answer["version"]) for row in answer["predictions"]]


def expected(percent: float) -> list[int]:
    return [2 if canarys else 1 for canarys in Split("churn", 2, percent).canary_serves(NAMES)]


def records(state: Path) -> list[Prediction]:
    """All predictions on record."""
    log = FileLog(state / "log" / "churn")
    found = list(log.read().predictions)
    log.close()
    return found


@lru_cache
def score_of(version: int) -> float:
    bundle = small_bundle(version)
    return float(bundle.probabilities(bundle.encoder.encode_rows([ROW]))[0])


@pytest.mark.parametrize("percent", [0, 30, 100])
def test_each_row_is_served_explained_and_recorded_by_the_version_of_its_entity(
    served: Served, percent: float
) -> None:
    start(served, percent)
    answer = served.predict({"rows": ROWS, "explain": "all"}).json()
    assert versions(answer) == expected(percent)
    log = FileLog(served.state / "log" / "churn")
    span = log.span()
    assert span is not None
    logged = {p.id: p for p in log.read(span).predictions}
    for name, row, version in zip(NAMES, answer["predictions"], versions(answer), strict=True):
        record = logged[row["prediction_id"]]
        assert (record.entity, record.version, record.score) == (name, version, score_of(version))
        parts = [c["contribution"] for c in row["contributions"]]
        base = row.get("base", answer.get("base"))
        assert base + sum(parts) + row["rest"] == pytest.approx(row["margin"])


def test_one_row_is_answered_by_the_version_of_its_entity(served: Served) -> None:
    start(served, 30)
    answers = [served.predict({"row": row}).json() for row in ROWS[:20]]
    assert [answer["version"] for answer in answers] == expected(30)[:20]
    assert {a["probability"] for a in answers} == {score_of(1), score_of(2)}
    assert all(answer["contributions"] for answer in answers)


def test_rows_without_an_entity_are_split_by_the_id_of_the_prediction(served: Served) -> None:
    start(served, 50)
    answer = served.predict({"rows": [ROW] * 200}).json()
    ids = [row["prediction_id"] for row in answer["predictions"]]
    assert versions(answer) == [2 if c else 1 for c in Split("churn", 2, 50).canary_serves(ids)]
    assert set(versions(answer)) == {1, 2}


def test_problems_keep_their_places_whoever_serves_the_row(served: Served) -> None:
    start(served, 50)
    rows: list[dict[str, Any]] = [dict(row) for row in ROWS]
    for i in (3, 40, 41, 199):
        rows[i]["job"] = "astronaut"
    refused = served.predict({"rows": rows})
    assert refused.status_code == 422
    problems = refused.json()["error"]["problems"]
    assert [problem["row"] for problem in problems] == [3, 40, 41, 199]


def test_a_restarted_server_splits_as_before(state: Path) -> None:
    split(state, 30)
    for _ in range(2):
        with Served(create_app(state)) as server:
            assert versions(server.predict({"rows": ROWS}).json()) == expected(30)
            details = server.get("/v1/models/churn").json()
            assert (details["canary_version"], details["canary_percent"]) == (2, 30)


def test_no_request_fails_or_is_mixed_while_a_canary_comes_grows_and_goes(served: Served) -> None:
    body = json.dumps({"rows": ROWS}).encode()
    possible = {share: expected(share) for share in (0, 10, 60)}
    for percent in (10, 60, None, 10, None):
        split(served.state, percent)
        wanted, seen = possible[percent or 0], list[int]()
        while seen != wanted:
            answer = served.predict(body)
            assert answer.status_code == 200
            seen = versions(answer.json())
            assert seen in possible.values()


def test_the_canary_becomes_champion_from_memory_and_the_split_ends(state: Path) -> None:
    split(state, 10)
    table = ModelTable(state, None)
    table.refresh()
    before = table["churn"].answering()
    assert before.canary is not None
    deploy(state, 2)
    table.refresh()
    after = table["churn"].answering()
    assert after.champion.bundle is before.canary.loaded.bundle
    assert after.canary is None


def test_a_damaged_canary_serves_nothing_and_says_why(state: Path) -> None:
    deployed = place(state, 2)
    arrays = Path(deployed.bundle, "arrays.safetensors")
    arrays.write_bytes(arrays.read_bytes()[:-1] + b"\0")
    split(state, 50)
    with Served(create_app(state)) as server:
        assert versions(server.predict({"rows": ROWS}).json()) == [1] * len(ROWS)
        ready = server.get("/readyz")
        assert ready.status_code == 200
        [warning] = ready.json()["warnings"]
        assert "no canary serves" in warning
        assert "was altered" in warning


class Load(threading.Thread):
    """A client that sends the same rows again and again, and checks each answer."""

    def __init__(
        self, client: httpx.Client, shares: Sequence[float], stop: threading.Event
    ) -> None:
        super().__init__()
        self.last: list[int] = []  # versions of the rows of the last answer
        self.faults: list[object] = []
        self._client, self._stop_event = client, stop
        self._possible = [expected(share) for share in shares]
        self._scores = {version: score_of(version) for version in (1, 2)}

    def wait_for(self, wanted: list[int]) -> None:
        """Wait until these versions answer, or something is wrong."""
        wait_until(lambda: self.last == wanted or bool(self.faults))

    def run(self) -> None:
        while not self._stop_event.is_set() and not self.faults:
            response = self._client.post(PREDICT, json={"rows": ROWS})
            if response.status_code != 200:
                self.faults.append(response.text)
                return
            answer = response.json()
            seen = versions(answer)
            scores = [row["probability"] for row in answer["predictions"]]
            if seen not in self._possible or scores != [self._scores[v] for v in seen]:
                self.faults.append(seen)
            self.last = seen


def test_two_servers_split_alike_under_load_while_a_canary_comes_grows_and_goes(
    state: Path,
) -> None:
    servers: list[Process] = []
    clients: list[httpx.Client] = []
    for _ in range(2):
        servers.append(Process(state))
        clients += [servers[-1].client() for _ in range(2)]  # the next one writes its address
    stop = threading.Event()
    loads = [Load(client, (0, 10, 60), stop) for client in clients]
    try:
        for load in loads:
            load.start()
        for percent in (10, 60, None, 60, 10, None):
            split(state, percent)
            wanted = expected(percent or 0)
            for load in loads:
                load.wait_for(wanted)
    finally:
        stop.set()
        for load in loads:
            load.join()
        for client in clients:
            client.close()
        for server in servers:
            server.stop(signal.SIGTERM)
    assert [load.faults for load in loads] == [[]] * len(loads)
    served_by: dict[str | None, set[int]] = {}
    for prediction in records(state):
        served_by.setdefault(prediction.entity, set()).add(prediction.version)
        assert prediction.score == score_of(prediction.version)
    assert [2 if 2 in served_by[name] else 1 for name in NAMES] == expected(60)


@pytest.mark.parametrize("percent", [5, 40])
def test_the_share_on_record_is_that_of_the_canary_and_who_has_it_keeps_it(
    served: Served, percent: float
) -> None:
    names, before = [f"customer {i}" for i in range(2000)], set[str | None]()
    for share in (percent, 2 * percent):
        start(served, share)
        rows = [{**ROW, "customer": name} for name in names]
        known = {record.id for record in records(served.state)}
        assert served.predict({"rows": rows}).status_code == 200
        new = [record for record in records(served.state) if record.id not in known]
        chosen = {record.entity for record in new if record.version == 2}
        error = math.sqrt(len(names) * share / 100 * (1 - share / 100))
        assert abs(len(chosen) - len(names) * share / 100) < 4 * error
        assert before <= chosen
        before = chosen


def test_a_repeated_request_is_answered_by_the_versions_that_answered_it_first(
    served: Served,
) -> None:
    path, asked = "/v1/models/churn/predict", {"rows": ROWS}
    headers = {"idempotency-key": "once"}
    start(served, 30)
    first = served.post(path, json=asked, headers=headers).json()
    start(served, 100)
    assert served.post(path, json=asked, headers=headers).json() == first
    split(served.state, None)
    served.wait_until(lambda: served.model("churn").answering().canary is None)
    assert served.post(path, json=asked, headers=headers).json() == first
    for version in (3, 4):  # the champion that answered leaves memory too
        split(served.state, None, champion=version)
        served.wait_until(partial(is_champion, served, version))
    assert served.post(path, json=asked, headers=headers).json() == first
    assert len(records(served.state)) == len(ROWS)


def test_arrow_answers_say_who_served_each_row(served: Served) -> None:
    import pyarrow as pa

    start(served, 30)
    headers = {"accept": "application/vnd.apache.arrow.stream"}
    asked = {"rows": ROWS, "explain": 1}
    answer = served.post("/v1/models/churn/predict-batch", json=asked, headers=headers)
    table = pa.ipc.open_stream(answer.content).read_all()
    assert table["version"].to_pylist() == expected(30)
    assert len(set(table["base"].to_pylist())) == 2
