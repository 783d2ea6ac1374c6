"""Setting up the workspace of the demonstration, with the same parts as ``gyro init``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from gyroscope.app import Workspace
from gyroscope.config import FILE
from gyroscope.data.infer import infer_contract
from gyroscope.data.sources import read_table
from gyroscope.data.workspace_file import write_model
from gyroscope.demo.scenes import MODEL, SETTINGS, WORKSPACE
from gyroscope.errors import UsageError

_MARK = ".gyroscope-demo"  # file that says: this folder may be deleted


def make_workspace(folder: Path, train: pa.Table) -> Workspace:
    """A fresh workspace in ``folder`` with the training data in ``flights.csv``.

    Raises:
        UsageError: the folder exists and is not one that an earlier demonstration made.
    """
    from pyarrow import csv

    if folder.exists():
        if any(folder.iterdir()) and not (folder / _MARK).exists():
            raise UsageError(f"{folder} holds something else; give another one with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
    csv.write_csv(train, folder / "flights.csv")
    inferred = infer_contract(read_table(folder / "flights.csv"), target="late", time="departs")
    path = write_model(folder, MODEL, folder / "flights.csv", inferred)
    text = _with(path.read_text(encoding="utf-8"), "workspace:\n", "  ", WORKSPACE)
    path.write_text(_with(text, "    settings:\n", "      ", SETTINGS), encoding="utf-8")
    return Workspace(folder)


def _with(text: str, heading: str, indent: str, settings: Mapping[str, Any]) -> str:
    """The text of ``gyroscope.yaml`` with settings put under a heading."""
    lines = [
        f"{indent}{name}: {msgspec.json.encode(value).decode()}\n"
        for name, value in settings.items()
    ]
    before, found, after = text.partition(heading)
    if not found:
        raise UsageError(f"{FILE} has no line {heading.strip()!r}")
    return f"{before}{heading}{''.join(lines)}{after}"
