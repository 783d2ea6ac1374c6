"""``gyro predict`` from file to file: by a bundle, killed and given again, and in little memory."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.serve.conftest import CONTRACT, ROW, deploy, small_bundle
from tests.serve.test_server import Process, wait_until

from gyroscope.bundle.keys import Keys
from gyroscope.cli import predict as command
from gyroscope.client import Client
from gyroscope.data.chunks import Chunks
from gyroscope.data.infer import Inferred
from gyroscope.data.sources import read_parts, read_table
from gyroscope.data.workspace_file import write_model
from gyroscope.errors import BundleError, DataError, GyroscopeError, RequestError, UsageError
from gyroscope.prediction_log import FileLog

N = 250


def rows(n: int = N) -> pa.Table:
    chance = np.random.default_rng(3)
    fixed = {name: [ROW[name]] * n for name in ("job", "town", "owner", "joined")}
    return pa.table(
        {
            "age": chance.integers(18, 95, n),
            "balance": pa.array(chance.normal(1000, 300, n), mask=chance.random(n) < 0.1),
            **fixed,
            "customer": [f"c{i}" for i in range(n)],
            "churned": ["no"] * n,
        }
    )


def write_csv(path: Path, table: pa.Table, *, encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file)
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return path


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    small_bundle(1).save(folder)
    return folder


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "CHUNK_ROWS", 100)


def expected() -> list[float]:
    made = small_bundle(1)
    return list(made.probabilities(made.encoder.encode_table(rows()).X))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("given", ["rows.csv", "rows.parquet", "rows_*.csv"])
@pytest.mark.parametrize("wanted", ["out.csv", "out.parquet"])
def test_a_bundle_predicts_every_row_in_order(
    tmp_path: Path, bundle: Path, given: str, wanted: str
) -> None:
    if given.endswith(".parquet"):
        pq.write_table(rows(), tmp_path / given, row_group_size=70)
    elif "*" in given:
        write_csv(tmp_path / "rows_1.csv", rows().slice(0, 30))
        write_csv(tmp_path / "rows_2.csv", rows().slice(30))
    else:
        write_csv(tmp_path / given, rows())
    output = tmp_path / wanted
    command.predict(tmp_path / given, output, bundle=bundle, unsigned=True)
    found = read_table(output)
    assert found.column_names == ["customer", "probability", "prediction"]
    assert found["customer"].to_pylist() == [f"c{i}" for i in range(N)]
    assert [float(p) for p in found["probability"].to_pylist()] == expected()
    labels = ["yes" if p >= 0.5 else "no" for p in expected()]
    assert found["prediction"].to_pylist() == labels
    assert sorted(path.name for path in tmp_path.glob("*out*")) == [wanted]


def test_a_bundle_predicts_only_if_the_workspace_trusts_who_signed_it_or_anybody_will_do(
    tmp_path: Path, bundle: Path
) -> None:
    given, output = write_csv(tmp_path / "rows.csv", rows(3)), tmp_path / "out.csv"
    (tmp_path / "gyroscope.yaml").write_text("workspace:\nmodels:\n")
    with pytest.raises(BundleError, match="is unsigned"):
        command.predict(given, output, bundle=bundle, workspace=tmp_path)
    signed = tmp_path / "signed"
    small_bundle(1).save(signed, signer=Keys(tmp_path / ".gyroscope" / "keys").signer())
    command.predict(given, output, bundle=signed, workspace=tmp_path)
    shutil.rmtree(tmp_path / ".gyroscope")
    with pytest.raises(BundleError, match="is signed by an unknown key"):
        command.predict(given, output, bundle=signed, workspace=tmp_path)
    command.predict(given, output, bundle=signed, workspace=tmp_path, unsigned=True)


@pytest.mark.usefixtures("small_chunks")
def test_a_value_that_does_not_fit_is_named_by_its_row_before_anything_is_predicted(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gyroscope.data.sources._PART_ROWS", 100)
    ages = rows()["age"].to_pylist()
    ages[220] = -1
    pq.write_table(rows().set_column(0, "age", pa.array(ages)), tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"row 221, age: given -1"):
        command.predict(
            tmp_path / "rows.parquet", tmp_path / "out.csv", bundle=bundle, unsigned=True
        )
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.usefixtures("small_chunks")
def test_only_what_is_missing_is_predicted_again(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, output = write_csv(tmp_path / "rows.csv", rows()), tmp_path / "out.csv"
    written: list[int] = []
    write = Chunks.write

    def stopped_at_the_third(self: Chunks, number: int, table: Any) -> None:
        written.append(number)
        if written == [0, 1, 2]:
            raise OSError
        write(self, number, table)

    monkeypatch.setattr(Chunks, "write", stopped_at_the_third)
    with pytest.raises(OSError, match=r"^$"):
        command.predict(given, output, bundle=bundle, unsigned=True)
    assert not output.exists()
    command.predict(given, output, bundle=bundle, unsigned=True)
    assert written == [0, 1, 2, 2]
    command.predict(given, output, bundle=bundle, unsigned=True)
    assert written == [0, 1, 2, 2, 0, 1, 2], "a job that was finished is begun anew"


@pytest.mark.usefixtures("small_chunks")
def test_chunks_of_other_rows_are_not_taken_up(tmp_path: Path) -> None:
    first = Chunks(tmp_path / "part", {"rows": "1"})
    first.write(0, rows(1))
    assert 0 in Chunks(tmp_path / "part", {"rows": "1"})
    other = Chunks(tmp_path / "part", {"rows": "2"})
    assert 0 not in other
    assert other.job != first.job
    (tmp_path / "part" / "plan.json").write_text("{")
    assert Chunks(tmp_path / "part", {"rows": "2"}).job != other.job


def test_two_commands_do_not_write_one_file(tmp_path: Path, bundle: Path) -> None:
    from gyroscope.loop.locks import locked

    given = write_csv(tmp_path / "rows.csv", rows(3))
    with (
        locked(tmp_path / ".out.csv.lock", wait_s=0, doing="writing out.csv"),
        pytest.raises(GyroscopeError, match=r"is writing .*out\.csv already"),
    ):
        command.predict(given, tmp_path / "out.csv", bundle=bundle, unsigned=True)


class ForgetfulServer:
    """Answers 409 to the first ``forgotten`` keys of a request, as if their versions were gone."""

    def __init__(self, forgotten: int) -> None:
        self._forgotten = forgotten
        self.keys: list[str] = []

    def predict(self, model: str, rows: list[Any], *, request_id: str) -> list[dict[str, Any]]:
        self.keys.append(request_id)
        if len(self.keys) <= self._forgotten:
            raise RequestError(409, "version 1 serves no longer")
        answer = {"prediction_id": "p", "probability": 0.5, "label": "yes"}
        return [answer for _ in rows]


def asking(folder: Path, server: ForgetfulServer) -> command._Asking:
    job = command._Job(write_csv(folder / "rows.csv", rows(2)), folder / "out.csv", CONTRACT, {})
    job.chunks = Chunks(folder / "out.csv.part", {})
    return command._Asking(cast("Client", server), "churn", job)


@pytest.mark.parametrize("gone", [0, 1, 3])
def test_rows_whose_versions_are_gone_are_predicted_anew_under_further_keys(
    tmp_path: Path, gone: int
) -> None:
    server = ForgetfulServer(gone)
    assert asking(tmp_path, server)(0, 1, rows(2))["prediction_id"] == ["p", "p"]
    assert len(set(server.keys)) == gone + 1
    again = ForgetfulServer(gone)
    asking(tmp_path, again)(0, 1, rows(2))
    assert again.keys == server.keys, "the server knows a command that is given again"


def test_trying_further_keys_ends(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"20 versions .* remove .*out\.csv\.part to begin"):
        asking(tmp_path, ForgetfulServer(100))(0, 1, rows(2))


def test_an_output_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"to a \.csv or a \.parquet file"):
        command.predict(tmp_path / "rows.csv", tmp_path / "out.xlsx")


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "latin-1"])
def test_parts_of_a_text_are_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr("gyroscope.data.sources._PART_BYTES", 1 << 12)
    letters = "é€" if encoding == "cp1252" else "é\x81" if encoding == "latin-1" else "é→"
    texts = [f"{i} {letters}" if i > 900 else f'{i} "a", b' for i in range(1000)]
    path = write_csv(tmp_path / "t.csv", pa.table({"x": texts, "y": texts}), encoding=encoding)
    parts = list(read_parts(path))
    assert len(parts) > 5
    assert pa.concat_tables(parts).equals(read_table(path))


def test_a_ragged_row_of_a_text_is_named_while_it_is_read_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match=r"row 3 \(the header is row 1\) has 1 fields"):
        list(read_parts(path))


def workspace(folder: Path) -> Path:
    data = write_csv(folder / "shop.csv", rows(20))
    write_model(folder, "churn", data, Inferred(contract=CONTRACT, remarks=()))
    deploy(folder / ".gyroscope", 1)
    return folder


PROGRAM = """
import sys
from pathlib import Path
from gyroscope.cli import predict
predict.CHUNK_ROWS = int(sys.argv[1])
predict.predict(Path(sys.argv[2]), Path(sys.argv[3]), **eval(sys.argv[4]))
"""


def run(chunk: int, given: Path, output: Path, **options: Any) -> subprocess.Popen[str]:
    arguments = [str(chunk), str(given), str(output), repr(options)]
    program = "from pathlib import PosixPath\n" + PROGRAM
    return subprocess.Popen([sys.executable, "-c", program, *arguments], text=True)


@pytest.mark.slow
def test_a_command_that_was_killed_goes_on_and_leaves_each_row_on_record_once(
    tmp_path: Path,
) -> None:
    n = 3000
    space = workspace(tmp_path)
    given, output = write_csv(tmp_path / "rows.csv", rows(n)), tmp_path / "out.csv"
    server = Process(space / ".gyroscope")
    try:
        killed = run(200, given, output, workspace=space)
        wait_until(lambda: len(list(tmp_path.glob("out.csv.part/*.parquet"))) >= 3)
        killed.send_signal(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        assert not output.exists()
        kept = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("out.csv.part/*.parquet")}
        assert len(kept) < n // 200
        going_on = run(200, given, output, workspace=space)
        assert going_on.wait() == 0
    finally:
        server.stop(signal.SIGTERM)
    found = read_table(output)
    assert found["customer"].to_pylist() == [f"c{i}" for i in range(n)]
    log = FileLog(space / ".gyroscope" / "log" / "churn")
    entities = {p.entity: p.id for p in log.read().predictions}
    assert len(log.times()) == n, "each row is on record once"
    log.close()
    assert [entities[c] for c in found["customer"].to_pylist()] == found[
        "prediction_id"
    ].to_pylist()


@pytest.mark.slow
def test_a_large_file_takes_little_memory(tmp_path: Path, bundle: Path) -> None:
    """3 million rows of 200 MB of text; holding them in Arrow alone would take more than this."""
    block = write_csv(tmp_path / "block.csv", rows(100_000)).read_bytes()
    header, _, body = block.partition(b"\n")
    given = tmp_path / "rows.csv"
    with given.open("wb") as file:
        file.write(header + b"\n")
        for _ in range(30):
            file.write(body)
    ran = run(command.CHUNK_ROWS, given, tmp_path / "out.parquet", bundle=bundle, unsigned=True)
    peak_kb = 0
    while ran.poll() is None:
        status = Path(f"/proc/{ran.pid}/status").read_text()
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
        peak_kb = max([peak_kb, *map(int, found)])
        time.sleep(0.05)
    assert ran.returncode == 0
    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.num_rows == 3_000_000
    assert peak_kb < 450_000
