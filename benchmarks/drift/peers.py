"""The tools, and how one of them is run on a folder of pairs."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.environments import python_for

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements"


class Tool(NamedTuple):
    """What is compared."""

    call: str  # as in its documentation, with its own methods and thresholds
    rules: tuple[str, ...] = ()  # what may be called drift; the peer scripts use the same names


TOOLS = {
    "gyroscope": Tool("gyroscope.drift(reference, current)", ("warnings", "notices too")),
    "evidently": Tool(
        "Report([DataDriftPreset()], include_tests=True).run(current, reference)",
        ("any column", "half of them"),
    ),
    "nannyml": Tool(
        "UnivariateDriftCalculator(names, chunk_size=n_reference // 10).fit(reference)"
        ".calculate(current)",
        ("any column",),
    ),
    "alibi_detect": Tool(
        "TabularDrift(reference, categories_per_feature=...).predict(current)", ("any column",)
    ),
    "scipy": Tool("ks_2samp or chi2_contingency, column by column", ("p < 0.05", "Bonferroni")),
    "floor": Tool("numpy.histogram with 50 bins or pyarrow value_counts, column by column"),
}


class PeerError(Exception):
    """A tool failed; the table says so and goes on."""


def command(tool: str, folder: Path, seconds: float = math.inf) -> list[str]:
    """The command that examines the pairs of a folder with a tool, until so much time is over.

    Raises:
        PeerError: the environment of the tool cannot be made.
    """
    try:
        python = python_for(tool, REQUIREMENTS)
    except subprocess.CalledProcessError as error:
        raise PeerError(f"its environment cannot be made: {error}") from error
    return [python, "-m", f"benchmarks.drift.peer_{tool}", str(folder), str(seconds)]


def output(arguments: Sequence[str]) -> str:
    """What a command prints.

    Raises:
        PeerError: it failed; with the last line of what it said.
    """
    environment = {**os.environ, "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = [line.strip("│╭╰─╯╮ ") for line in done.stderr.splitlines()]  # Typer's frame
        raise PeerError(next(filter(None, reversed(said)), f"exit code {done.returncode}"))
    return done.stdout


def examine(tool: str, folder: Path, seconds: float = math.inf) -> dict[str, Any]:
    """What a peer script measured, see ``measuring.main``, until so much time was over.

    Raises:
        PeerError: it failed.
    """
    measured: dict[str, Any] = json.loads(output(command(tool, folder, seconds)).splitlines()[-1])
    return measured
