"""Kills a process that appends to a prediction log 200 times and counts what is lost: nothing.

Each time a new process appends single records from 64 tasks that share syncs, and says which are
acknowledged; at a random moment it is killed by SIGKILL. The log is then read, all along the same
one, and every tenth time compacted while the next process appends. Of a process that acknowledges
nothing is told whether it has ended or where it is held up.

Run: python benchmarks/prediction_log_kills.py [--kills 200] [--seed 1] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from gyroscope.model import Prediction
from gyroscope.prediction_log import FileLog, GroupCommit
from gyroscope.prediction_log.compaction import compact
from gyroscope.testing.prediction_log import label, prediction

TASKS = 64
MOST_S = 0.2  # from the first acknowledged record to the kill
PATIENCE_S = 300.0  # for the first record after a kill; on a busy machine a start takes long
TELLING_S = 5.0  # for a process that is held up to say where


def record(name: str) -> Prediction:
    """A record whose content tells whether it is whole."""
    return prediction(name, hour=hash(name) % 240, row={"text": name * 9, "number": 1.5})


async def append_for_ever(folder: Path, prefix: str) -> None:
    """Append from many tasks and write the id of each record once it is acknowledged."""
    commit = GroupCommit(FileLog(folder, segment_bytes=2**20))

    async def request(task: int) -> None:
        number = 0
        while True:
            name = f"{prefix}-{task}-{number}"
            await commit.append([record(name)])
            if number % 10 == 0:
                await commit.append_labels([label(name, name)])
            os.write(1, f"{name}\n".encode())
            number += 1

    await asyncio.gather(*(request(task) for task in range(TASKS)))


class Appender:
    """A process that appends, and what it has acknowledged."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self.acknowledged: list[str] = []
        self._heard = threading.Event()  # of a record, or of the end of the process
        self.started = time.monotonic()
        self.first_s = 0.0  # from the start of the process to its first acknowledged record
        command = [sys.executable, __file__, "--append", prefix, "--folder", str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):
                self.acknowledged.append(line.decode().strip())
            if not self._heard.is_set():
                self.first_s = time.monotonic() - self.started
                self._heard.set()
        self._heard.set()

    def obstacle(self) -> str:
        """What keeps the process from acknowledging its first record; empty if it has done so."""
        heard = self._heard.wait(PATIENCE_S)
        if self.first_s:
            return ""
        if heard:
            return f"it ended by itself, exit code {self._process.wait()}"
        where = " ".join(_read(f"/proc/{self._process.pid}/{name}") for name in ("wchan", "stat"))
        self._process.send_signal(signal.SIGUSR1)  # the stacks of its threads, on standard error
        time.sleep(TELLING_S)
        return f"it has been held up for {PATIENCE_S:.0f} s, in the kernel at: {where}"

    def kill(self) -> None:
        """Kill -9, and hear what was still in the pipe."""
        self._process.kill()
        self._process.wait()
        self._thread.join()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        return str(error)


def trial(folder: Path, kills: int, seed: int) -> bool:
    """Kill, look and report; whether nothing was lost and nobody was held up."""
    rng = random.Random(seed)
    reader = FileLog(folder)
    acknowledged: set[str] = set()
    slowest = 0.0
    for kill in range(kills):
        appender = Appender(folder, f"{kill}")
        try:
            if obstacle := appender.obstacle():
                print(f"after kill {kill} the next process wrote nothing: {obstacle}")
                return False
            slowest = max(slowest, appender.first_s)
            if kill % 10 == 9:
                compact(folder, part_bytes=2**20)
            time.sleep(rng.uniform(0, MOST_S))
        finally:
            appender.kill()
        acknowledged.update(appender.acknowledged)
        if missing := set(appender.acknowledged) - reader.known(appender.acknowledged):
            print(f"kill {kill}: {len(missing)} acknowledged records are lost")
            return False
    read = reader.read().predictions
    found = {p.id for p in read}
    spoilt = sum(p.row[0] != p.id * 9 for p in read)
    lost, doubled = len(acknowledged - found), len(reader.times()) - len(found)
    print(
        f"{kills} kills, {len(acknowledged):,} records acknowledged, {len(found):,} in the log, "
        f"{lost} lost, {doubled} doubled, {spoilt} spoilt, {len(reader.damage())} damaged places; "
        f"first record after a start within {slowest:.2f} s"
    )
    return not (lost or doubled or spoilt or reader.damage())


def main() -> None:
    """Run the trial, or be one of its appenders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to try")
    parser.add_argument("--append", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.append is not None:
        faulthandler.register(signal.SIGUSR1)
        asyncio.run(append_for_ever(arguments.folder, arguments.append))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if not trial(Path(folder) / "log", arguments.kills, arguments.seed):
            sys.exit(1)


if __name__ == "__main__":
    main()
