from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OPEN = """
import sys
from pathlib import Path
from gyroscope.registry.client import mlflow_client
folder = Path(sys.argv[1])
client = mlflow_client(f"sqlite:///{folder / 'mlflow.db'}", folder / "deep" / "mlflow.lock")
client.create_experiment(sys.argv[2])
print(len(client.search_experiments()) >= 2)
"""


def test_two_processes_may_make_the_same_database_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tmp_path), name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for process in processes:
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert out.strip() == "True"
        assert err == ""
