"""Names and values from data are shown on the terminal, never obeyed by it or by Rich."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gyroscope.cli import main
from gyroscope.cli.options import console, table, visible
from gyroscope.cli.progress import training_progress

ODD = ["[/red]", "[bold]x", ":smile:", "[link=http://elsewhere]z[/]", "\\["]


@pytest.fixture
def out(monkeypatch: pytest.MonkeyPatch) -> Console:
    monkeypatch.setenv("COLUMNS", "120")
    made = console()
    made.file = io.StringIO()
    return made


def text(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


@pytest.mark.parametrize("name", ODD)
def test_markup_in_a_name_is_printed_as_it_is(out: Console, name: str) -> None:
    shown = table("Findings", ("subject",))
    shown.add_row(name)
    out.print(shown)
    out.print(f"about {name}")
    assert text(out).count(name) == 2


@pytest.mark.parametrize("name", ODD)
def test_markup_in_the_name_of_a_file_does_not_stop_a_training(out: Console, name: str) -> None:
    with training_progress(out, "churn", shown=True) as progress:
        progress("validate data", f"reading {name}")


def test_what_a_terminal_would_obey_is_shown_as_an_escape(out: Console) -> None:
    out.print("red \x1b[31m, bell \x07, right to left \u202e, line\nbreak, Zürich 東京")
    assert text(out) == (
        "red \\x1b[31m, bell \\x07, right to left \\u202e, line\nbreak, Zürich 東京\n"
    )


def test_a_message_of_an_error_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gyro", "init", "\x1b1.csv", "--target", "y"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "gyro: no file \\x1b1.csv\n"


def test_ordinary_text_is_not_changed() -> None:
    assert visible("a b\nc ü 😀 \u200d \xa0 <&>") == "a b\nc ü 😀 \u200d \xa0 <&>"
