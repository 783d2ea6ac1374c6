"""The command ``gyro``."""

from __future__ import annotations

import gc
import os
import sys

from gyroscope.errors import GyroscopeError


def main() -> None:
    """Run the command line; every known error is one message and an exit code."""
    from gyroscope.cli.options import visible

    if sys.argv[1:2] == ["drift"]:  # stands alone, and need not wait for the other commands
        _make_haste()
        from gyroscope.cli.drift import app
    else:
        from gyroscope.cli.commands import app

    try:
        app()
    except GyroscopeError as error:
        print(f"gyro: {visible(str(error))}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except BrokenPipeError:  # e.g. gyro decisions | head
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # a folder that cannot be written, a disk that is full
        where = f"{error.filename}: " if error.filename else ""
        print(f"gyro: {visible(f'{where}{error.strerror or error}')}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _make_haste() -> None:
    """Spare a process that is soon over what makes it start slowly.

    That is the search for garbage among what is being imported, and the threads of OpenBLAS, which
    would have nothing to do.
    """
    gc.set_threshold(50_000)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
