"""An environment for each peer, for their requirements contradict each other and ours.

They are made once, in ``.benchmarks/``, and again when their requirements change.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

ENVIRONMENTS = Path(__file__).parents[1] / ".benchmarks"


def python_for(peer: str, folder: Path) -> str:
    """The interpreter of a peer: one of its own if ``folder`` has requirements of it, else this.

    Raises:
        subprocess.CalledProcessError: its requirements cannot be installed.
    """
    requirements = folder / f"{peer}.txt"
    if not requirements.exists():
        return sys.executable
    home = ENVIRONMENTS / peer
    python = home / "bin" / "python"
    installed = home / "installed.txt"
    if not installed.exists() or installed.read_text() != requirements.read_text():
        print(f"Making {home} ...", file=sys.stderr)
        venv.create(home, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet"]
        subprocess.run([*pip, "install", "--requirement", str(requirements)], check=True)
        shutil.copyfile(requirements, installed)
    return str(python)
