from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "sklearn",
    "lightgbm",
    "xgboost",
    "pandas",
    "mlflow",
    "shap",
    "scipy",
    "pyarrow",
    "matplotlib",
    "fastapi",  # and these two when the server runs, not before
    "uvicorn",
)


def test_the_serving_process_imports_no_training_library() -> None:
    program = (
        "import sys\n"
        "import gyroscope.serve.server, gyroscope.serve.app\n"
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == ""
