"""The docs speak of what is there: files, targets, commands."""

from __future__ import annotations

import re
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
    """All that stands between backticks, inline or in blocks, line by line."""
    text = doc.read_text(encoding="utf-8")
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    rows = [row for block in blocks for row in block.splitlines()]
    return rows + re.findall(r"`([^`]+)`", outside)


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
    named = {m for text in code(doc) for m in re.findall(r"^\$? ?make ([a-z][a-z-]*)", text)}
    assert named <= targets


@every_doc
def test_the_commands_of_a_doc_are_commands_of_gyro(doc: Path) -> None:
    commands = set(typer.main.get_group(app).commands)
    named = {m for text in code(doc) for m in re.findall(r"^\$? ?gyro ([a-z][a-z-]*)", text)}
    assert named <= commands
