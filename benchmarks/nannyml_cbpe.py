"""What NannyML's CBPE says of the worlds that ``cbpe.py`` left in a folder; run in a venv with it.

Run: python benchmarks/nannyml_cbpe.py FOLDER  (cbpe.py does)
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import nannyml
import numpy as np
import pandas as pd

THRESHOLD = 0.5


def frame(p: np.ndarray) -> pd.DataFrame:
    """Scores as NannyML wants them."""
    return pd.DataFrame({"p": p, "decided": (p >= THRESHOLD).astype(int)})


def estimates(world: Path) -> None:
    """Write the estimated AUC, its sampling error and the seconds beside a world."""
    held = np.load(world)
    windows = held["p"]
    metrics = ["roc_auc"]
    if len(windows) == 1:  # the one that is timed
        metrics += ["accuracy", "precision", "recall", "f1"]
    estimator = nannyml.CBPE(
        problem_type="classification_binary",
        y_pred_proba="p",
        y_pred="decided",
        y_true="y",
        metrics=metrics,
        chunk_size=windows.shape[1],
    )
    estimator.fit(frame(held["reference_p"]).assign(y=held["reference_y"].astype(int)))
    started = time.process_time()
    found = estimator.estimate(frame(windows.ravel()))
    seconds = time.process_time() - started
    table = found.filter(period="analysis").to_df()["roc_auc"]
    np.savez(
        world.with_suffix(".nannyml.npz"),
        value=table["value"].to_numpy(),
        error=table["sampling_error"].to_numpy(),
        seconds=seconds,
    )


if __name__ == "__main__":
    for path in sorted(Path(sys.argv[1]).glob("*.world.npz")):
        estimates(path)
