"""Estimated against realised ROC AUC of windows without labels: ours next to NannyML's CBPE.

The same references and windows are given to both. Makes a virtual environment with NannyML 0.13.1
on the first run. The interval of NannyML is its estimate with 1.96 sampling errors (it shows 3).

Run: python benchmarks/cbpe.py [--folder FOLDER] [--references 6] [--windows 20]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.stats.auc import roc_auc
from gyroscope.stats.calibration_map import calibration_map
from gyroscope.stats.cbpe import expected_performance

ROOT = Path(__file__).parents[1]
THRESHOLD = 0.5
REFERENCE_ROWS, WINDOW_ROWS, TIMED_ROWS = 5000, 2000, 1_000_000
SIMULATED = ("calibrated", "overconfident", "wavy", "rare")

FloatArray = npt.NDArray[np.float64]


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Labelled reference rows, and windows of which only the scores are shown."""

    name: str
    reference_y: FloatArray
    reference_p: FloatArray
    y: FloatArray  # [windows, rows]
    p: FloatArray


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """How far estimates were off over all windows of a kind of world."""

    mean_absolute: float
    covered: float  # share of the 95 % intervals that hold the realised AUC


def simulated(kind: str, windows: int, rows: int, rng: np.random.Generator) -> World:
    """A score of one hidden number whose mean moves from 0 in the reference to up to 1."""

    def draw(shape: tuple[int, ...], moved: FloatArray) -> tuple[FloatArray, FloatArray]:
        x = rng.normal(size=shape) + moved
        margin = 1.4 * x - 3.5 if kind == "rare" else 1.5 * x - 1
        seen = {
            "calibrated": margin,
            "overconfident": 1.7 * margin + 0.3,
            "wavy": margin + 0.4 * np.sin(2 * x),
            "rare": 1.3 * margin,
        }[kind]
        y = rng.random(shape) < 1 / (1 + np.exp(-margin))
        return y.astype(np.float64), 1 / (1 + np.exp(-seen))

    reference_y, reference_p = draw((REFERENCE_ROWS,), np.zeros(1))
    y, p = draw((windows, rows), np.linspace(0, 1, windows)[:, None])
    return World(name=kind, reference_y=reference_y, reference_p=reference_p, y=y, p=p)


def employment(references: int, windows: int, rng: np.random.Generator) -> Iterator[World]:
    """Census rows: some of 2015 as reference; later ones as they are, and ever older people."""
    shared = Path(os.environ.get("GYROSCOPE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    path = shared / "employment_ma" / "employment_ma.parquet"
    if not path.exists():
        print(f"no {path}: simulated worlds only")
        return
    import pandas as pd

    table = pd.read_parquet(path)
    y = table["employed"].to_numpy(dtype=np.float64)
    p, age = table["predicted_probability"].to_numpy(), table["AGEP"].to_numpy()
    first = np.flatnonzero(table["year"] == 2015)
    later = np.flatnonzero(table["year"] > 2015)
    for name, tilt in (("employment", 0.0), ("employment, older", 0.04)):
        for _ in range(references):
            reference = rng.choice(first, REFERENCE_ROWS, replace=False)
            chosen = []
            for share in np.linspace(0, 1, windows):
                weight = np.exp(tilt * share * age[later])
                chance = weight / weight.sum()
                chosen.append(rng.choice(later, WINDOW_ROWS, replace=False, p=chance))
            rows = np.array(chosen)
            yield World(
                name=name, reference_y=y[reference], reference_p=p[reference], y=y[rows], p=p[rows]
            )


def nannyml_python(folder: Path) -> Path:
    """The interpreter of a virtual environment with NannyML, made if it is not there."""
    python = folder / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "nannyml==0.13.1", "statsmodels"]
        subprocess.run(install, check=True)
    return python


def ours(world: World) -> tuple[FloatArray, FloatArray]:
    """Estimates and standard errors of the AUC of each window."""
    calibration = calibration_map(world.reference_y, world.reference_p)
    found = [expected_performance(p, THRESHOLD, calibration).metrics["roc_auc"] for p in world.p]
    return np.array([f.value for f in found]), np.array([f.standard_error for f in found])


def errors(realised: FloatArray, value: FloatArray, error: FloatArray) -> Errors:
    """Compare estimates with what the labels said."""
    off = np.abs(value - realised)
    return Errors(mean_absolute=float(off.mean()), covered=float((off <= 1.959964 * error).mean()))


def report(worlds: list[World], folder: Path) -> None:
    """Print a line for each kind of world, and the seconds for the large one."""
    print(f"{'world':<20}{'windows':>8}{'ours MAE':>10}{'NannyML':>9}{'covered':>9}{'NannyML':>9}")
    for name in dict.fromkeys(world.name for world in worlds):
        kept: list[tuple[FloatArray, ...]] = []
        for number, world in enumerate(worlds):
            if world.name != name:
                continue
            realised = np.array(
                [roc_auc(y, p).value for y, p in zip(world.y, world.p, strict=True)]
            )
            theirs = np.load(nannyml_file(folder, number))
            kept.append((realised, *ours(world), theirs["value"], theirs["error"]))
        realised, *rest = (np.concatenate(part) for part in zip(*kept, strict=True))
        a, b = errors(realised, *rest[:2]), errors(realised, *rest[2:])
        print(
            f"{name:<20}{realised.size:>8}{a.mean_absolute:>10.5f}{b.mean_absolute:>9.5f}"
            f"{a.covered:>9.1%}{b.covered:>9.1%}"
        )


def main() -> None:
    """Compare the two on all worlds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "cbpe")
    parser.add_argument("--references", type=int, default=6)
    parser.add_argument("--windows", type=int, default=20)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    python = nannyml_python(given.folder)
    rng = np.random.default_rng(0)
    worlds = [
        simulated(kind, given.windows, WINDOW_ROWS, rng)
        for kind in SIMULATED
        for _ in range(given.references)
    ]
    worlds += employment(given.references, given.windows, rng)
    large = simulated("overconfident", 1, TIMED_ROWS, rng)
    for number, world in enumerate([*worlds, large]):
        np.savez(
            world_file(given.folder, number),
            reference_y=world.reference_y,
            reference_p=world.reference_p,
            p=world.p,
        )
    subprocess.run(
        [str(python), str(Path(__file__).with_name("nannyml_cbpe.py")), str(given.folder)],
        check=True,
        env={
            **os.environ,
            "NML_DISABLE_USAGE_LOGGING": "1",
            "PYTHONPATH": "",
            "PYTHONWARNINGS": "ignore",
        },
    )
    report(worlds, given.folder)
    calibration = calibration_map(large.reference_y, large.reference_p)
    started = time.process_time()
    expected_performance(large.p[0], THRESHOLD, calibration)
    seconds = time.process_time() - started
    theirs = float(np.load(nannyml_file(given.folder, len(worlds)))["seconds"])
    print(
        f"CPU seconds for {TIMED_ROWS:,} rows: ours {seconds:.2f} (seven metrics with intervals), "
        f"NannyML {theirs:.2f} (five)"
    )


def world_file(folder: Path, number: int) -> Path:
    """Where a world is left for the other program."""
    return folder / f"{number:03}.world.npz"


def nannyml_file(folder: Path, number: int) -> Path:
    """Where the other program leaves what it found."""
    return world_file(folder, number).with_suffix(".nannyml.npz")


if __name__ == "__main__":
    main()
