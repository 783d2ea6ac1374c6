from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from gyroscope.bundle.keys import Keys
from gyroscope.cli.init import init, model_name
from gyroscope.config import load_config
from gyroscope.data.contract import Contract, contract_from_mapping
from gyroscope.errors import GyroscopeError

N = 300


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(init)
    return app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    return tmp_path


def write(
    name: str, columns: dict[str, Any], *, delimiter: str = ",", encoding: str = "utf-8"
) -> Path:
    lines = [delimiter.join(columns)]
    lines += [delimiter.join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    path = Path(name)
    path.write_text("\n".join(lines) + "\n", encoding=encoding)
    return path


def customers(**more: Any) -> dict[str, Any]:
    random = np.random.default_rng(0)
    return {
        "age": random.integers(18, 90, N),
        "plan": random.choice(["basic", "pro"], N),
        "left": random.choice(["yes", "no"], N, p=[0.3, 0.7]),
        **more,
    }


def run(app: typer.Typer, *arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def refusal(app: typer.Typer, *arguments: str) -> GyroscopeError:
    """The error that the command ends with, which main turns into a message and an exit code."""
    result = run(app, *arguments)
    assert isinstance(result.exception, GyroscopeError)
    return result.exception


def contract(folder: Path, name: str) -> Contract:
    return contract_from_mapping(load_config(folder).model(name).contract, where=name)


def test_a_file_becomes_a_model_and_the_next_command_is_told(
    app: typer.Typer, folder: Path
) -> None:
    write("customers.csv", customers())
    result = run(app, "customers.csv", "--target", "left")
    assert result.exit_code == 0, result.output
    assert "customers.csv: 300 rows, 3 columns" in result.output
    assert result.output.endswith("  gyro train customers\n")
    assert [c.name for c in contract(folder, "customers").features] == ["age", "plan"]
    assert load_config(folder).model("customers").data == folder.resolve() / "customers.csv"


def test_all_options_reach_the_file(app: typer.Typer, folder: Path) -> None:
    days = [f"{1 + k % 28}.1.2026" for k in range(N)]
    who, sex = [f"C{k % 40}" for k in range(N)], ["f", "m"] * (N // 2)
    write("a.csv", customers(day=days, who=who, sex=sex))
    options = ["--time", "day", "--id", "who", "--sensitive", "sex", "--sensitive", "plan"]
    result = run(app, "a.csv", "--target", "left", *options, "--positive", "no", "--model", "stay",
                 "--workspace", "w")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.output.endswith("  gyro train stay --workspace w\n")
    made = contract(folder / "w", "stay")
    assert (made.time.name, made.time.format) == ("day", "%d.%m.%Y")  # type: ignore[union-attr]
    assert made.id.name == "who"  # type: ignore[union-attr]
    assert [c.name for c in made.sensitive] == ["plan", "sex"]
    assert (made.positive, made.negative) == (("no",), ("yes",))


def test_warnings_are_told_with_what_to_do(app: typer.Typer, folder: Path) -> None:
    columns = customers()
    write("a.csv", {**columns, "refund": np.where(columns["left"] == "yes", 5, 0)})
    output = run(app, "a.csv", "--target", "left").output
    assert "Warnings\n  refund: Ignored: it alone gives the target away (AUC 1.000)" in output
    assert "If it really is known when the prediction is made, use `role: feature`." in output
    assert "│ refund ! │ integer  │ ignored │ leak: alone it has an AUC of 1.000" in output


def test_the_same_remark_on_several_columns_is_made_once(app: typer.Typer, folder: Path) -> None:
    write("a.csv", customers(one=["x"] * N, two=["x"] * N))
    output = run(app, "a.csv", "--target", "left").output
    assert "  one, two: Ignored: it is 'x' in all rows, so nothing can be learnt from it." in output


def test_json_says_the_same_to_programs(app: typer.Typer, folder: Path) -> None:
    write("a.csv", customers())
    told = json.loads(run(app, "a.csv", "--target", "left", "--json").output)
    assert (told["model"], told["rows"], told["positive"]) == ("a", N, ["yes"])
    assert told["columns"][0] == {"name": "age", "type": "integer", "seen": [18.0, 89.0]}
    assert {remark["kind"] for remark in told["remarks"]} >= {"no-time", "positive"}
    assert Path(told["file"]).is_file()
    assert told["key"] == Keys(folder / ".gyroscope" / "keys").signer().key


def test_a_model_that_exists_is_replaced_only_by_force(app: typer.Typer, folder: Path) -> None:
    write("a.csv", customers())
    assert run(app, "a.csv", "--target", "left").exit_code == 0
    error = refusal(app, "a.csv", "--target", "plan")
    assert (error.exit_code, "with --force" in str(error)) == (2, True)
    assert run(app, "a.csv", "--target", "plan", "--force").exit_code == 0
    assert contract(folder, "a").target.name == "plan"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("bank calls.csv.gz", "bank_calls"),
        ("2026-01.parquet", "2026-01"),
        ("_übung.CSV", "bung"),
        ("日本.csv", "model"),
        ("days/*.csv", "days"),
        ("x" * 80 + ".csv", "x" * 64),
        ("sales.v2.csv", "sales_v2"),
    ],
)
def test_the_model_is_called_after_its_file(file: str, name: str) -> None:
    assert model_name(Path(file)) == name


def test_an_awkward_file_is_read(app: typer.Typer, folder: Path) -> None:
    random = np.random.default_rng(1)
    amount = np.where(random.random(N) < 0.3, "", np.round(random.normal(size=N), 2).astype(str))
    columns = {
        "größe": amount,
        "raucht": random.choice(["ja", "nein"], N),
        "aktiv": random.choice(["yes", "no", ""], N),
        "leer": [""] * N,
        "[bold]": random.integers(0, 9, N),
        "Tag": [f"{1 + k % 28:02}.02.2026 10:{k % 60:02}" for k in range(N)],
        "Ziel": random.choice(["1", "0"], N),
    }
    write("daten.csv", columns, delimiter=";", encoding="latin-1")
    result = run(app, "daten.csv", "--target", "Ziel", "--time", "Tag")
    assert result.exit_code == 0, result.output
    assert "│ [bold]" in result.output
    made = {column.name: column for column in contract(folder, "daten").columns}
    assert {name: (c.type.value, c.role.value) for name, c in made.items()} == {
        "größe": ("number", "feature"),
        "raucht": ("category", "feature"),
        "aktiv": ("boolean", "feature"),
        "leer": ("text", "ignored"),
        "[bold]": ("integer", "feature"),
        "Tag": ("datetime", "time"),
        "Ziel": ("category", "target"),
    }
    assert made["größe"].nullable
    assert made["Tag"].format == "%d.%m.%Y %H:%M"


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        ("a\n1\n0\n", "a", "no column is left to learn 'a' from"),
        ("a,b\n1,2\n", "c", "the data have no column 'c'"),
        ("a,b\n1,2\n1,2\n", "b", "is '2' in all rows"),
        ("a,b\n1,\n1,\n", "b", "is empty in all 2 rows"),
        ("a,b\n1,2,3\n", "b", "row 2"),
        ("", "b", "is empty"),
        ("a,b\n1,x\n2,x\n3,x\n", "b", "is 'x' in all rows"),
    ],
)
def test_no_bad_input_ends_in_anything_but_a_message(
    app: typer.Typer, folder: Path, content: str, target: str, message: str
) -> None:
    Path("a.csv").write_text(content)
    assert message in str(refusal(app, "a.csv", "--target", target))
    assert [path.name for path in folder.iterdir()] == ["a.csv"]


def test_a_pattern_stays_a_pattern_in_the_file(app: typer.Typer, folder: Path) -> None:
    (folder / "days").mkdir()
    for day in ("days/1.csv", "days/2.csv"):
        write(day, customers())
    result = run(app, "days/*.csv", "--target", "left")
    assert result.exit_code == 0, result.output
    assert "days/*.csv: 600 rows, 3 columns" in result.output
    assert load_config(folder).model("days").data == folder.resolve() / "days" / "*.csv"


def test_a_file_that_is_not_there_is_a_usage_error(app: typer.Typer, folder: Path) -> None:
    error = refusal(app, "nothing.csv", "--target", "x")
    assert (str(error), error.exit_code) == ("no file nothing.csv", 2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("bank_marketing", ["--target", "y"]),
        ("telco_churn_ibm", ["--target", "Churn", "--sensitive", "gender"]),
        ("elec2", ["--target", "class"]),
    ],
)
def test_real_data_become_a_model(
    app: typer.Typer, folder: Path, shared_data: Path, name: str, options: list[str]
) -> None:
    result = run(app, str(shared_data / name / f"{name}.csv.gz"), *options)
    assert result.exit_code == 0, result.output
    assert contract(folder, name).features
