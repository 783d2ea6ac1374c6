"""HTTP serving: Gyroscope beside its peers and beside the floor of its own server.

One worker is pinned to one core and the load generator to another. Rows are all different. Needs
Linux, taskset, and wrk (Debian: apt-get install wrk). Run from the root of the repository:
python -m benchmarks.serving [--seconds 10] [--connections 1 16 64] [--batch 100]
[--tools gyroscope mlflow ...] [--cores 0 1]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving.tools import HERE, PORT, TOOLS, Tool, interpreter
from benchmarks.serving.world import SENT, Row, make

START_S = 120.0  # for a server to answer
TICKS = os.sysconf("SC_CLK_TCK")
COLUMNS = ("requests/s", "p50 ms", "p99 ms", "CPU ms", "errors")


class Load(NamedTuple):
    """What one run of the load generator found."""

    rate: float  # requests a second
    p50_ms: float
    p99_ms: float
    cpu_ms: float  # of the server, for each request
    errors: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="of each run")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--batch", type=int, default=100, help="rows of a large request")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--cores", type=int, nargs=2, default=[0, 1], help="of server and load")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = make(folder)
        header = f"{'':20}{'rows':>6}{'connections':>13}"
        print(header + "".join(f"{column:>12}" for column in COLUMNS))
        for tool in options.tools:
            try:
                _measure(tool, folder, rows, options)
            except (OSError, subprocess.SubprocessError, RuntimeError) as error:
                print(f"{tool:20}failed: {error}", flush=True)


def _measure(name: str, folder: Path, rows: list[Row], options: argparse.Namespace) -> None:
    tool = TOOLS[name]
    python = interpreter(tool)
    if tool.form:
        subprocess.run([python, str(HERE / "peer_fit.py"), str(folder), tool.form], check=True)
    bodies = {n: _bodies(folder, tool, rows, n) for n in (1, options.batch)}
    with _server(tool, folder, python, options.cores[0]) as (process, start_s):
        idle = _memory_mb(process)
        runs = [(1, c) for c in options.connections] + [(options.batch, options.connections[0])]
        for n, connections in runs:
            found = _load(tool, process, bodies[n], connections, options)
            numbers = (
                f"{found.rate:12.1f}{found.p50_ms:12.2f}{found.p99_ms:12.2f}{found.cpu_ms:12.3f}"
            )
            print(f"{name:20}{n:6}{connections:13}{numbers}{found.errors:12}", flush=True)
        busy = _memory_mb(process)
        print(f"{name:20}ready in {start_s:.2f} s; {idle:.0f} MB idle, {busy:.0f} MB after")


def _bodies(folder: Path, tool: Tool, rows: list[Row], n: int) -> Path:
    """A file with one request a line, no row in two of them."""
    path = folder / f"bodies-{n}"
    with path.open("wb") as file:
        for first in range(0, SENT - n + 1, n):
            file.write(tool.body(rows[first : first + n]) + b"\n")
    return path


@contextlib.contextmanager
def _server(
    tool: Tool, folder: Path, python: str, core: int
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A running server and the seconds until it gave its first prediction."""
    environment = {
        **os.environ,
        "MODEL": str(folder),
        "EXPLAIN": "1" if tool.explains else "0",
        "DO_NOT_TRACK": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(python).parent}:{os.environ['PATH']}",
    }
    log = folder / "server.log"
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *tool.serve(folder, python)],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    body = next((folder / "bodies-1").open("rb")).rstrip()
    try:
        while not _answers(tool.path, body):
            if process.poll() is not None or time.perf_counter() - began > START_S:
                said = log.read_text(errors="replace").splitlines()
                raise RuntimeError(next(filter(None, reversed(said)), "it said nothing"))
            time.sleep(0.02)
        yield process, time.perf_counter() - began
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answers(path: str, body: bytes) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said = answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    if answer.status in (400, 415, 422, 500):
        raise RuntimeError(f"{answer.status}: {said[:300]!r}")
    return answer.status == 200


def _load(
    tool: Tool,
    process: subprocess.Popen[bytes],
    bodies: Path,
    connections: int,
    options: argparse.Namespace,
) -> Load:
    command = ["taskset", "-c", str(options.cores[1]), "wrk", "--threads", "1", "--latency"]
    command += ["--connections", str(connections), "--duration", f"{options.seconds}s"]
    command += ["--timeout", "30s", "--script", str(HERE / "distinct.lua")]
    command += [f"http://127.0.0.1:{PORT}{tool.path}", "--", str(bodies)]
    before = _cpu_s(process)
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    cpu_s = _cpu_s(process) - before
    [result] = [line for line in ran.stdout.splitlines() if line.startswith("RESULT")]
    n, duration_us, p50_us, p99_us, _, errors = map(int, result.split()[1:])
    return Load(
        rate=n / duration_us * 1e6,
        p50_ms=p50_us / 1000,
        p99_ms=p99_us / 1000,
        cpu_ms=1000 * cpu_s / max(n, 1),
        errors=errors,
    )


def _tree(process: subprocess.Popen[bytes]) -> Iterator[Path]:
    """The folders in /proc of a server: of its process, and of all that come from it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(OSError):
                children.setdefault(int(_fields(folder)[1]), []).append(int(folder.name))
    waiting = [process.pid]
    while waiting:
        pid = waiting.pop()
        waiting += children.get(pid, [])
        yield Path(f"/proc/{pid}")


def _fields(folder: Path) -> list[str]:
    """What the kernel says of a process after its name: state, parent and so on."""
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _cpu_s(process: subprocess.Popen[bytes]) -> float:
    fields = [_fields(folder) for folder in _tree(process)]
    return sum(int(one[11]) + int(one[12]) for one in fields) / TICKS


def _memory_mb(process: subprocess.Popen[bytes]) -> float:
    """Proportional set size: pages that processes share count once."""
    found: Sequence[str] = [
        line.split()[1]
        for folder in _tree(process)
        for line in (folder / "smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    ]
    return sum(map(int, found)) / 1024


if __name__ == "__main__":
    main()
