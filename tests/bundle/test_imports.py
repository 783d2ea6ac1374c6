"""A serving process needs no training library to load a bundle, score and explain a row."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gyroscope.testing.worlds import CALM, tiny_bundle

HEAVY = ("sklearn", "lightgbm", "xgboost", "pandas", "mlflow", "shap", "scipy", "pyarrow",
         "matplotlib", "sqlalchemy")  # fmt: skip
SERVE = """
import json, sys
from pathlib import Path
from gyroscope.bundle.bundle import Bundle
bundle = Bundle.load(Path(sys.argv[1]))
row = json.loads(sys.argv[2])
X = bundle.encoder.encode_rows([row])
found = bundle.contributions(X)
bundle.encoder.encode_logged(list(row), [tuple(row.values())])
bundle.encoder.label("yes")
print(json.dumps([bundle.probabilities(X)[0], found.base, *found.values[0]]))
print(*[name for name in sys.argv[3:] if name in sys.modules])
"""


@pytest.mark.parametrize("kind", ["additive", "trees"])
def test_loading_and_scoring_imports_no_training_library(kind: str, tmp_path: Path) -> None:
    bundle = tiny_bundle(kind=kind)
    bundle.save(tmp_path / "bundle")
    row = CALM.events(0, 1)[0].row
    command = [sys.executable, "-c", SERVE, str(tmp_path / "bundle"), json.dumps(row), *HEAVY]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    answer, imported = ran.stdout.split("\n")[:2]
    assert imported == ""
    X = bundle.encoder.encode_rows([row])
    found = bundle.contributions(X)
    assert json.loads(answer) == [bundle.probabilities(X)[0], found.base, *found.values[0]]
