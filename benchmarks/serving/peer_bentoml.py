"""BentoML with the pipeline as it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml
import joblib
import pandas as pd


@bentoml.service(workers=1)
class Shop:
    """Serves the pipeline."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(Path(os.environ["MODEL"]) / "model.joblib")

    @bentoml.api
    def predict(self, rows: list[dict[str, Any]]) -> list[float]:
        """Score."""
        frame = pd.DataFrame(rows)
        return [float(p) for p in self.pipeline.predict_proba(frame)[:, 1]]
