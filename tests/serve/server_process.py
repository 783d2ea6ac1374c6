"""Runs the server in a process of its own: the state folder, then its options as JSON."""

import json
import sys
from pathlib import Path

from gyroscope.serve.http import Limits
from gyroscope.serve.server import run

if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    run(Path(sys.argv[1]), limits=Limits(**options.pop("limits", {})), **options)
