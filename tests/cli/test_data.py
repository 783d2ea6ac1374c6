"""``gyro predict`` and ``gyro label`` with a stand-in for the server."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gyroscope.cli import data as commands
from gyroscope.cli.predict import predict as predict_command
from gyroscope.data.contract import Contract
from gyroscope.data.infer import infer_contract
from gyroscope.data.sources import read_table
from gyroscope.data.workspace_file import write_model
from gyroscope.errors import DataError, FieldProblem, GyroscopeError, RequestError, UsageError

MODEL = "shop"
N = 1200


class StandIn:
    """Answers as the server does, takes at most so many rows at once, and notes what it got."""

    def __init__(self, contract: Contract) -> None:
        self.contract, self.most = contract, 10_000
        self.refused: tuple[FieldProblem, ...] = ()
        self.rows: list[dict[str, Any]] = []
        self.url = "http://stand-in"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get(self, path: str) -> dict[str, Any]:
        assert path == f"/v1/models/{MODEL}"
        return {"contract": msgspec.to_builtins(self.contract)}

    def _take(self, rows: Sequence[dict[str, Any]]) -> None:
        if len(rows) > self.most:
            raise RequestError(413, "too many rows")
        if self.refused:
            raise RequestError(422, "refused", self.refused)
        self.rows += rows

    def predict(
        self, model: str, rows: Sequence[dict[str, Any]], *, request_id: str
    ) -> list[dict[str, Any]]:
        assert model == MODEL
        self._take(rows)
        return [{"prediction_id": r["x"], "probability": 0.5, "label": "yes"} for r in rows]

    def label(self, model: str, labels: Sequence[dict[str, Any]]) -> dict[str, Any]:
        assert model == MODEL
        self._take(labels)
        return {"accepted": len(labels), "unknown": []}


def table(n: int = N) -> dict[str, list[str]]:
    return {
        "prediction_id": [f"c{k % 50}" for k in range(n)],
        "x": [str(k * 7 % 601) for k in range(n)],
        "plan": ["basic" if k % 2 else "pro" for k in range(n)],
        "buys": [("yes", "no", "")[k % 3] for k in range(n)],
    }


def write(path: Path, columns: dict[str, list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "shop.csv", table())
    inferred = infer_contract(read_table(path), target="buys", id="prediction_id")
    write_model(tmp_path, MODEL, path, inferred)
    made = StandIn(inferred.contract)
    monkeypatch.setattr(commands, "client", lambda space, url: made)
    return made


def predict(data: str, output: str) -> None:
    predict_command(Path(data), Path(output))


def label(data: str, column: str | None = None) -> None:
    commands.label(Path(data), column)


def refusal(data: str, output: str) -> GyroscopeError:
    with pytest.raises(GyroscopeError) as refused:
        predict(data, output)
    assert not Path(output).is_file()
    return refused.value


def test_every_row_gets_its_prediction_in_order(server: StandIn) -> None:
    predict("shop.csv", "out.csv")
    header, *lines = read(Path("out.csv"))
    assert header == ["given_prediction_id", "prediction_id", "probability", "prediction"]
    assert [line[:2] for line in lines] == [
        [i, x] for i, x in zip(table()["prediction_id"], table()["x"], strict=True)
    ]
    assert not list(Path().glob("*.part"))


@pytest.mark.parametrize("most", [1, 7, 100])
def test_a_server_that_takes_fewer_rows_at_once_gets_all_of_them(
    server: StandIn, most: int
) -> None:
    server.most = most
    predict("shop.csv", "out.csv")
    assert [row["x"] for row in server.rows] == [int(x) for x in table()["x"]]


def test_a_value_that_does_not_fit_is_named_before_anything_is_sent(server: StandIn) -> None:
    columns = table()
    columns["plan"][700] = "gold"
    write(Path("new.csv"), columns)
    refused = refusal("new.csv", "out.csv")
    assert isinstance(refused, DataError)
    assert "nothing was sent: new.csv: row 701, plan: given 'gold', expected one of" in str(refused)
    assert "(rows are counted from 1, without the header)" in str(refused)
    assert not server.rows


def test_rows_that_the_server_refuses_are_named_by_their_place_in_the_file(server: StandIn) -> None:
    server.refused = (FieldProblem(row=3, field="plan", given="'x'", expected="one of a"),)
    assert "shop.csv: row 4, plan: given 'x', expected one of a" in str(
        refusal("shop.csv", "out.csv")
    )


def test_the_file_with_the_rows_is_never_overwritten(server: StandIn) -> None:
    before = Path("shop.csv").read_bytes()
    with pytest.raises(UsageError, match=r"shop.csv is the file with the rows"):
        predict("shop.csv", "./shop.csv")
    assert Path("shop.csv").read_bytes() == before


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_sent(
    server: StandIn, tmp_path: Path
) -> None:
    assert "is a folder" in str(refusal("shop.csv", str(tmp_path)))
    assert "no folder nowhere to write out.csv to" in str(refusal("shop.csv", "nowhere/out.csv"))
    assert not server.rows


def test_labels_that_are_missing_are_counted_and_not_sent(
    server: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    server.most = 100
    label("shop.csv")
    assert len(server.rows) == N * 2 // 3
    assert {row["label"] for row in server.rows} == {"yes", "no"}
    assert capsys.readouterr().out == (
        f"{N * 2 // 3} labels accepted, 0 for unknown predictions, {N // 3} rows without a label\n"
    )


def test_labels_of_any_type_of_parquet_are_sent_as_json_can_say_them(server: StandIn) -> None:
    values = pa.array([Decimal("1.00"), Decimal("0.00"), None])
    pq.write_table(pa.table({"prediction_id": ["a", "b", "c"], "y": values}), "labels.parquet")
    label("labels.parquet", "y")
    assert [row["label"] for row in server.rows] == ["1.00", "0.00"]


def test_labels_that_are_refused_are_named_by_their_place_in_the_file(server: StandIn) -> None:
    server.refused = (FieldProblem(row=2, field="label", given="'x'", expected="one of yes, no"),)
    with pytest.raises(DataError, match=r"shop.csv: row 4, label: given 'x'"):  # the third has none
        label("shop.csv")


def test_a_file_of_labels_without_their_column_says_what_it_has(server: StandIn) -> None:
    with pytest.raises(DataError, match=r"no column 'bought'; it has: prediction_id, x, plan"):
        label("shop.csv", "bought")
