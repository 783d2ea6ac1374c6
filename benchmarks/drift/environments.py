"""An environment for each peer, for their requirements contradict each other and ours.

They are made once, in ``.benchmarks/``, and again when their requirements change.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
ENVIRONMENTS = Path(__file__).parents[2] / ".benchmarks"


def python_for(peer: str) -> str:
    """The interpreter of a peer: one of its own if it has requirements, else this one.

    Raises:
        subprocess.CalledProcessError: its requirements cannot be installed.
    """
    requirements = REQUIREMENTS / f"{peer}.txt"
    if not requirements.exists():
        return sys.executable
    folder = ENVIRONMENTS / peer
    python = folder / "bin" / "python"
    installed = folder / "installed.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        print(f"Making {folder} ...", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", "--requirement", str(requirements)], check=True)
        shutil.copyfile(requirements, installed)
    return str(python)
