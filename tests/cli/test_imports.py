"""A comparison of two small files does not wait for libraries that it does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv, parquet

from gyroscope.kernels import compiled

HEAVY = (
    *("scipy", "sklearn", "lightgbm", "xgboost", "pandas", "mlflow", "shap", "matplotlib"),
    *("sqlalchemy", "alembic", "pydantic", "fastapi", "starlette", "uvicorn", "httpx", "jinja2"),
    *("numpy.testing", "numpy.f2py", "pyarrow.dataset", "asyncio"),
)
COMMAND = """
import sys
from gyroscope.cli import main
heavy = sys.argv.pop().split(",")
try:
    main()
finally:
    print("imported:", *[name for name in heavy if name in sys.modules])
"""


def test_gyro_drift_imports_no_heavy_library(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    before, after = (
        pa.table(
            {
                "age": rng.normal(40 + shift, 10, 1500).round(1),
                "visits": np.sort(rng.poisson(3, 1500)),
                "plan": rng.choice(["a", "b", "c"], 1500),
            }
        )
        for shift in (0, 5)
    )
    csv.write_csv(before, tmp_path / "before.csv")
    parquet.write_table(after, tmp_path / "after.parquet")
    command = [sys.executable, "-c", COMMAND, "drift", "before.csv", "after.parquet"]
    ran = subprocess.run(
        [*command, ",".join(HEAVY)], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert ran.returncode == 1, ran.stderr  # age is flagged
    imported = ran.stdout.splitlines()[-1].removeprefix("imported:").split()
    # Without a compiler the tails of distributions are SciPy's.
    assert imported == [] or not compiled()
