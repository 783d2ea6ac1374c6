"""The docs speak of what is there: files, targets, commands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from gyroscope.cli.commands import app

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "gyroscope"
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
DOC_IDS = [str(path.relative_to(ROOT)) for path in DOCS]

every_doc = pytest.mark.parametrize("doc", DOCS, ids=DOC_IDS)


def code(doc: Path) -> list[str]:
    """All that is written as code, inline or in blocks, line by line."""
    text = doc.read_text(encoding="utf-8")
    fenced = re.findall(r"^```.*?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (\S.*)", outside, flags=re.MULTILINE)
    return [*"".join(fenced).splitlines(), *indented, *re.findall(r"`([^`]+)`", outside)]


@pytest.mark.parametrize("doc", ["docs/architecture.md", "docs/glossary.md"])
def test_the_modules_that_a_doc_names_are_there(doc: str) -> None:
    named = {text for text in code(ROOT / doc) if re.fullmatch(r"[\w/]+\.py", text)}
    assert len(named) > 20
    missing = {path for path in named if not any((at / path).is_file() for at in (PACKAGE, ROOT))}
    assert not missing


@every_doc
def test_links_between_docs_lead_somewhere(doc: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", doc.read_text(encoding="utf-8"))
    missing = [at for at in links if "://" not in at and not (doc.parent / at).exists()]
    assert not missing


@every_doc
def test_the_make_targets_of_a_doc_are_in_the_makefile(doc: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    named = {found[1] for row in code(doc) if (found := re.match(r"make ([a-z-]+)", row))}
    assert named <= targets


@every_doc
def test_the_commands_of_a_doc_are_commands_of_gyro_with_their_options(doc: Path) -> None:
    commands = typer.main.get_group(app).commands
    for row in code(doc):
        words = row.split("#")[0].split()
        if words[:1] == ["gyro"] and len(words) > 1 and words[1].isalpha() and words[1].islower():
            assert words[1] in commands, row
            command = commands[words[1]]
            if isinstance(command, typer.core.TyperGroup):
                assert words[2] in command.commands, row
                command = command.commands[words[2]]
            options = {name for option in command.params for name in option.opts}
            assert {word for word in words[2:] if word.startswith("-")} <= options, row


def test_the_readme_names_the_commands_for_a_demonstration_and_the_tests() -> None:
    assert {"make demo", "make test"} <= {" ".join(r.split()[:2]) for r in code(ROOT / "README.md")}


def test_the_layers_of_the_architecture_are_those_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"][1:]  # without __main__
    shown = [row.split("  ")[0] for row in code(ROOT / "docs" / "architecture.md")]
    start = shown.index(layers[0])
    assert shown[start : start + len(layers)] == layers
