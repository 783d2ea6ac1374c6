"""How long profiles take and how much memory: files of 50 columns, and small frames.

Every measurement is made in a process of its own, several times; the least is shown. The floor is
what reading the whole file takes pyarrow, and a NumPy histogram of 50 bins for a single column.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

COLUMNS = 50
RUNS = 2
ROWS_AT_A_TIME = 1_000_000


def main() -> None:
    """Make the data, measure, print a table."""
    with tempfile.TemporaryDirectory() as folder:
        one, five = Path(folder, "1.parquet"), Path(folder, "5.parquet")
        spec = Path(folder, "spec")
        for path in (one, five):  # elsewhere: a process inherits the peak of the one it comes from
            _measured("write", path, spec)
        _measured("reference", one, spec)
        print(f"{'':44}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}")
        for title, arguments in (
            ("pyarrow reads 1,000,000 x 50", ("read", one, spec)),
            ("table_profile of 1,000,000 x 50", ("profile", one, spec)),
            ("table_profile of 5,000,000 x 50", ("profile", five, spec)),
            ("reference_profile of 1,000,000 x 50", ("reference", one, spec)),
            ("spec and both profiles, 2 x 1,000,000 x 50", ("both", one, spec)),
            ("spec and both profiles, 2 x 10,000 x 20", ("small", one, spec)),
        ):
            runs = [_measured(*arguments) for _ in range(RUNS)]
            wall, cpu, peak = (min(values) for values in zip(*runs, strict=True))
            print(f"{title:44}{wall:8.3f}{cpu:8.3f}{peak:9.0f}")
    _kernel()


def _write(path: Path, rows: int, *, seed: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    names = [f"c{position}" for position in range(COLUMNS)]
    writer = None
    for _ in range(rows // ROWS_AT_A_TIME):
        table = pa.table({name: rng.normal(size=ROWS_AT_A_TIME) for name in names})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def _measured(task: str, data: Path, spec: Path) -> tuple[float, ...]:
    """Wall and CPU seconds of a task, and the peak of its process in MB."""
    command = [sys.executable, __file__, task, str(data), str(spec)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return tuple(float(word) for word in done.stdout.split())


def _run(task: str, data: str, spec_path: Path) -> None:
    """One measurement, in this process."""
    import pyarrow.parquet as pq

    from gyroscope.data.cells import ProfileSpec
    from gyroscope.data.table_profile import reference_profile, table_profile

    rng = np.random.default_rng(3)
    small = [{f"c{k}": rng.normal(size=10_000) for k in range(20)} for _ in range(2)]
    # What is imported on first use is not what is measured.
    spec, _ = reference_profile(small[0])
    table_profile(small[1], spec)
    spec = ProfileSpec.from_bytes(spec_path.read_bytes()) if spec_path.exists() else spec

    def reference() -> None:
        spec_path.write_bytes(reference_profile(data)[0].to_bytes())

    def both(before: object, after: object) -> None:
        found, held = reference_profile(before)
        table_profile(after, found, reference=held)

    million = int(Path(data).stem)
    tasks: dict[str, Callable[[], object]] = {
        "write": lambda: _write(Path(data), million * ROWS_AT_A_TIME, seed=million),
        "read": lambda: pq.read_table(data),
        "profile": lambda: table_profile(data, spec),
        "reference": reference,
        "both": lambda: both(data, data),
        "small": lambda: both(*small),
    }
    wall, cpu = time.perf_counter(), time.process_time()
    tasks[task]()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(wall, cpu, peak / (2**20 if sys.platform == "darwin" else 2**10))


def _kernel() -> None:
    from gyroscope.kernels import Stretch, compiled, tally_numbers

    x = np.random.default_rng(4).normal(size=1_000_000)
    edges = np.quantile(x, np.arange(1, 250) / 250)
    for title, task in (
        ("NumPy histogram of 50 bins", lambda: np.histogram(x, 50)),
        (
            f"kernel, {'C' if compiled() else 'NumPy'}",
            lambda: tally_numbers([Stretch(values=x)], edges),
        ),
    ):
        times = []
        for _ in range(7):
            began = time.thread_time()
            task()
            times.append(time.thread_time() - began)
        print(f"{title:44}{1e9 * min(times) / x.size:8.2f} ns a value")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        _run(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
    else:
        main()
