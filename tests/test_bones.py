"""What holds for the package and the project as a whole."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

import gyroscope

ROOT = Path(__file__).parents[1]
HEAVY = {
    *("alembic", "fastapi", "jinja2", "lightgbm", "matplotlib", "mlflow", "numpy", "pandas"),
    *("pyarrow", "scipy", "sklearn", "sqlalchemy", "uvicorn", "xgboost"),
}
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(gyroscope.__path__, "gyroscope.")
    if module.name != "gyroscope.__main__"  # importing it runs the command line
)
FOLDERS = (".ci", "benchmarks", "docs", "src", "tests")
BINARY = {".gz", ".ico", ".lib", ".parquet", ".png", ".safetensors", ".woff2", ".body"}
REGISTRY = re.compile(r"\b(pypi|pythonhosted|npmjs|crates|debian|ubuntu)\.(org|io|com)\b")
MACHINE = re.compile(r"(?<![\w.])/(home|opt|root|tmp|work|Users)/\w")


def imported_by(*arguments: str) -> set[str]:
    """Top-level modules that a new Python process imports."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [row for row in done.stderr.splitlines() if row.startswith("import time:")]
    return {row.rsplit("|", 1)[1].strip().split(".")[0] for row in rows}


def project_texts() -> Iterator[Path]:
    """Every file that is written by hand."""
    yield from (path for path in ROOT.iterdir() if path.suffix in {".md", ".toml", ".txt"})
    yield from (ROOT / name for name in (".gitignore", "LICENSE", "Makefile", "NOTICE"))
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            made = any(part.startswith((".", "__")) for part in path.relative_to(ROOT).parts[1:-1])
            if path.is_file() and not made and path.suffix not in BINARY:
                yield path


def rows_with(pattern: re.Pattern[str]) -> list[str]:
    """Where the pattern is found in the project's files."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {row}"
        for path in project_texts()
        for number, row in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(row)
    ]


@pytest.mark.parametrize(
    "arguments",
    [("-c", "import gyroscope"), ("-m", "gyroscope", "--help"), ("-m", "gyroscope", "--version")],
    ids=" ".join,
)
def test_starting_imports_no_heavy_library(arguments: tuple[str, ...]) -> None:
    imported = imported_by(*arguments)
    assert "gyroscope" in imported
    assert not imported & HEAVY


def test_the_probe_for_heavy_libraries_sees_them() -> None:
    assert "numpy" in imported_by("-c", "import gyroscope.bundle.trees")


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported_and_says_what_it_is(name: str) -> None:
    assert importlib.import_module(name).__doc__


def test_public_names_are_sorted_and_there() -> None:
    assert gyroscope.__all__ == sorted(gyroscope.__all__)
    assert set(gyroscope.__all__) <= set(dir(gyroscope))


def test_public_names_are_those_that_type_checkers_see_and_lead_to_their_homes() -> None:
    tree = ast.parse(Path(str(gyroscope.__file__)).read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == gyroscope._HOMES
    assert {*seen, "__version__"} == set(gyroscope.__all__)
    for name, module in seen.items():
        assert getattr(gyroscope, name) is getattr(importlib.import_module(str(module)), name)


@pytest.mark.parametrize("name", [n for n in gyroscope.__all__ if n != "__version__"])
def test_every_public_object_has_a_docstring(name: str) -> None:
    assert getattr(gyroscope, name).__doc__


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Wrokspace"):
        getattr(gyroscope, "Wrokspace")  # noqa: B009 - mypy would find it


def test_the_version_is_the_one_installed_and_has_its_place_among_the_changes() -> None:
    assert gyroscope.__version__ == version("gyroscope-ml")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## {re.escape(gyroscope.__version__)} ", changes, flags=re.MULTILINE)


def test_every_file_is_utf_8_with_unix_line_ends() -> None:
    for path in project_texts():
        assert "\r" not in path.read_bytes().decode("utf-8"), path


def test_no_file_names_a_package_registry_or_a_folder_of_one_machine() -> None:
    assert rows_with(re.compile("The Gyroscope authors"))  # the search does find
    assert not rows_with(REGISTRY)
    assert not rows_with(MACHINE)
