"""FastAPI with joblib and pandas, as in most tutorials; with SHAP if EXPLAIN is 1."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

pipeline = joblib.load(Path(os.environ["MODEL"]) / "model.joblib")
explain = os.environ.get("EXPLAIN") == "1"
app = FastAPI()

if explain:
    import shap

    explainer = shap.TreeExplainer(pipeline[-1])


class Rows(BaseModel):
    """What is sent."""

    rows: list[dict[str, Any]]


@app.post("/predict")
def predict(given: Rows) -> dict[str, Any]:
    """Score, and explain if asked to."""
    frame = pd.DataFrame(given.rows)
    answer = {"probabilities": pipeline.predict_proba(frame)[:, 1].tolist()}
    if explain:
        X = pipeline[0].transform(frame)
        answer["contributions"] = explainer.shap_values(X).tolist()
    return answer
