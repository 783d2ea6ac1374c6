"""Fits the pipeline that the peers serve, in the environment of one of them.

python peer_fit.py FOLDER joblib|mlflow
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder


def main(folder: Path, form: str) -> None:
    """Fit and save: model.joblib, or an MLflow model in the folder mlflow."""
    training = pd.read_csv(folder / "train.csv")
    X, y = training.drop(columns="churned"), (training["churned"] == "yes").astype(int)
    encode = OneHotEncoder(handle_unknown="ignore")
    categories = [name for name in X.columns if name.startswith("c")]
    transform = ColumnTransformer([("categories", encode, categories)], remainder="passthrough")
    model = LGBMClassifier(
        n_estimators=200, num_leaves=31, learning_rate=0.05, n_jobs=1, verbosity=-1
    )
    pipeline = Pipeline([("transform", transform), ("model", model)]).fit(X, y)
    if form == "joblib":
        import joblib

        joblib.dump(pipeline, folder / "model.joblib")
    else:
        import mlflow.sklearn

        mlflow.sklearn.save_model(
            pipeline,
            str(folder / "mlflow"),
            pip_requirements=["scikit-learn"],
            pyfunc_predict_fn="predict_proba",
            serialization_format="cloudpickle",
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
