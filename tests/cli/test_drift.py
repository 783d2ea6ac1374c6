"""``gyro drift``: two files against each other."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa  # also keeps the command from telling Arrow that there is no pandas
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from gyroscope.cli import main
from gyroscope.cli.commands import app
from gyroscope.errors import UsageError
from gyroscope.kernels import compiled

N = 1000


def people(seed: int, *, shift: float = 0.0, plans: str = "abc") -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "age": rng.normal(40 + shift, 10, N),
            "plan": rng.choice(list(plans), N),
            "visits": rng.poisson(3, N),
        }
    )


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same people in 2023 and, other ones, in 2024; in 2025 they are ten years older."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for year, shift in (("2023", 0.0), ("2024", 0.0), ("2025", 10.0)):
        pyarrow.csv.write_csv(people(int(year), shift=shift), f"{year}.csv")
    return tmp_path


def drift(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["drift", *arguments])


def report(*arguments: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(drift(*arguments, "--json").stdout)
    return found


def refusal(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["gyro", "drift", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_what_has_not_changed_ends_with_zero_and_one_sentence() -> None:
    done = drift("2023.csv", "2024.csv")
    assert done.exit_code == 0
    assert done.stdout == "1,000 rows against 1,000 in 3 columns: no sure change.\n"


def test_a_column_that_changed_ends_with_one_and_is_told_in_words() -> None:
    done = drift("2023.csv", "2025.csv")
    assert done.exit_code == 1
    assert "warning │ age    │ Large change of age: mean up from" in done.stdout
    assert "100 %" in done.stdout
    assert done.stdout.endswith("1,000 rows against 1,000 in 3 columns: warning for age.\n")


def test_all_shows_the_columns_without_a_change_too() -> None:
    assert "plan" not in drift("2023.csv", "2025.csv").stdout
    assert "No sure change of plan." in drift("2023.csv", "2025.csv", "--all").stdout


def test_json_has_verdict_rows_changes_and_findings() -> None:
    found = report("2023.csv", "2025.csv")
    assert found["verdict"] == "warning"
    assert found["flagged"] is True
    assert found["rows"] == {"reference": N, "current": N}
    assert isinstance(found["changes"], list)
    assert isinstance(found["findings"], list)
    assert found["changes"][0]["subject"] == found["findings"][0]["subject"] == "age"
    assert found["changes"][0]["share"] == 1.0


def test_patterns_gzip_tsv_and_parquet_tell_the_same() -> None:
    table = people(2025, shift=10.0)
    pq.write_table(table, "late.parquet")
    text = Path("2025.csv").read_text()
    with gzip.open("late.csv.gz", "wt") as packed:
        packed.write(text)
    Path("late.tsv").write_text(text.replace(",", "\t"))
    half = N // 2
    for part, rows in (("1", table.slice(0, half)), ("2", table.slice(half))):
        pyarrow.csv.write_csv(rows, f"part-{part}.csv")
    sizes = [
        report("2023.csv", late)["changes"]
        for late in ("2025.csv", "late.csv.gz", "late.tsv", "part-*.csv", "late.parquet")
    ]
    assert all(found == sizes[0] for found in sizes)


def test_only_the_columns_chosen_are_compared() -> None:
    assert drift("2023.csv", "2025.csv", "--columns", "plan,visits").exit_code == 0
    done = drift("2023.csv", "2025.csv", "--ignore", "age")
    assert done.exit_code == 0
    assert done.stdout == (
        "Left out of the comparison: age.\n1,000 rows against 1,000 in 2 columns: no sure change.\n"
    )


def test_numbers_that_are_written_for_people_are_told() -> None:
    numbers = [f"{n % 9 + 1}.000,5{n % 2};{n % 7 + 1},5;{n % 7}" for n in range(1000)]
    others = [f"10.0.0.{n % 3};{n % 28 + 1}.12.2024;0171 55{n % 9}" for n in range(1000)]
    rows = [";".join(pair) for pair in zip(numbers, others, strict=True)]
    Path("a.csv").write_text("\n".join(["price;size;rooms;host;day;phone", *rows]))
    told = " ".join(drift("a.csv", "a.csv").stdout.split())
    assert "Compared as texts, although written like numbers: price, size. Write numbers" in told


def test_rules_that_are_less_strict_let_the_change_pass() -> None:
    assert drift("2023.csv", "2025.csv", "--material-psi", "9").exit_code == 0
    few = drift("2023.csv", "2025.csv", "--min-rows", "5000")
    assert few.exit_code == 0
    assert "not enough data" in few.stdout


def test_columns_that_are_gone_or_new_are_told() -> None:
    table = people(2024).rename_columns(["age", "plan", "calls"])
    pyarrow.csv.write_csv(table, "other.csv")
    done = drift("2023.csv", "other.csv")
    assert done.exit_code == 1
    assert "There is no column visits" in done.stdout
    assert "Not in the reference, and not compared: calls." in done.stdout


def test_a_file_of_one_row_lacks_a_column_all_the_same() -> None:
    pyarrow.csv.write_csv(people(2024).drop_columns("visits").slice(0, 1), "one.csv")
    done = drift("2023.csv", "one.csv")
    assert done.exit_code == 1
    assert "There is no column visits" in done.stdout
    assert "1 row with a value is too few" in done.stdout
    assert "1 row against 1,000 in 3 columns: alarm for visits." in done.stdout


def test_values_that_cannot_be_read_are_counted() -> None:
    rows = Path("2024.csv").read_text().splitlines()
    rows[7] = f'"n/k",{rows[7].split(",", 1)[1]}'
    Path("2024.csv").write_text("\n".join(rows))
    done = drift("2023.csv", "2024.csv")
    assert "1 value of age in the current rows is no number, and not compared." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("2023.csv", "2022.csv"), 2, "gyro: no file 2022.csv\n"),
        (
            ("2023.csv", "2024.csv", "--columns", "Age,plam"),
            2,
            "gyro: the reference has no column 'Age'; did you mean 'age'?\n",
        ),
        (
            ("2023.csv", "2024.csv", "--alpha", "2"),
            2,
            "gyro: alpha must lie in (0, 1), got 2.0\n",
        ),
        (
            ("2023.csv", "2024.csv", "--material-psi", "0"),
            2,
            "gyro: material_psi must be a positive number, got 0.0\n",
        ),
        (
            ("2023.csv", "2024.csv", "--ignore", "age,plan,visits"),
            2,
            "gyro: no column of the table can be profiled: none was chosen\n",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    assert refusal(monkeypatch, *arguments) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("name", ["empty.csv", "damaged.parquet"])
def test_a_file_that_cannot_be_read_is_no_change(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    Path(name).touch()
    assert refusal(monkeypatch, "2023.csv", name) == 2


def test_a_parquet_file_without_rows_is_not_enough_data() -> None:
    pq.write_table(people(2024).slice(0, 0), "none.parquet")
    done = drift("2023.csv", "none.parquet")
    assert done.exit_code == 0
    assert done.stdout.endswith("0 rows against 1,000 in 3 columns: not enough data for some.\n")


def test_names_from_data_are_shown_on_one_line_and_never_obeyed() -> None:
    for year, shift in (("2023", 0.0), ("2025", 10.0)):
        table = people(int(year), shift=shift).rename_columns(["[red]a\n\x1b[31m", "b", "c"])
        pyarrow.csv.write_csv(table, f"{year}.csv")
    shown = drift("2023.csv", "2025.csv").stdout
    assert r"[red]a\n\x1b[31m" in shown
    assert "\x1b" not in shown


def test_a_page_is_written_whole_or_not_at_all() -> None:
    assert drift("2023.csv", "2025.csv", "--html", "page.html").exit_code == 1
    assert Path("page.html").read_text(encoding="utf-8").endswith("</html>")
    Path("folder").mkdir()
    failed = drift("2023.csv", "2025.csv", "--html", "folder")
    assert isinstance(failed.exception, UsageError)  # whose exit code is 2
    assert "the page cannot be written to folder" in str(failed.exception)
    assert not list(Path().glob("*.tmp"))


def test_the_command_waits_for_no_library_that_it_does_not_need() -> None:
    pq.write_table(people(2024), "2024.parquet")
    command = [sys.executable, "-X", "importtime", "-m", "gyroscope", "drift", "2023.csv"]
    done = subprocess.run(
        [*command, "2024.parquet", "--json"], check=True, capture_output=True, text=True
    )
    rows = [row for row in done.stderr.splitlines() if row.startswith("import time:")]
    modules = {row.rsplit("|", 1)[1].strip() for row in rows}
    assert {"numpy", "pyarrow"} <= modules
    unwanted = {"mlflow", "matplotlib", "sklearn", "lightgbm", "jinja2", "sqlalchemy", "yaml"}
    unwanted |= {"pandas._libs", "rich.table", "pyarrow.dataset", "pydantic", "fastapi", "asyncio"}
    unwanted |= {"gyroscope.app", "scipy.stats", "scipy.optimize"}
    if compiled():  # else the tails of distributions are SciPy's
        unwanted |= {"scipy", "scipy.special", "numpy.testing", "numpy.f2py"}
    assert not modules & unwanted
