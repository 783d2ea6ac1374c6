"""Column drift: Gyroscope beside its peers and beside the floor, in cost, errors and power.

Run from the root of the repository: python -m benchmarks.drift [--rows 1000000] [--repeats 3]
[--trials 200] [--seconds 90] [--tools gyroscope evidently ...]
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.drift.cost import print_cost, print_process_cost
from benchmarks.drift.peers import TOOLS
from benchmarks.drift.power import print_header, print_row
from benchmarks.drift.settings import SETTINGS
from benchmarks.drift.worlds import NARROW, WIDE, write_pair, write_trials

SMALL = 10_000  # rows

LEGEND = """
How many trials a tool got through in its time; the per cent of them in which it flags any column;
and then, where columns were changed, the per cent of those that it names. 10,000 rows of reference
and 2,000 current ones of 20 columns, unless the row says otherwise. The first row is false alarms,
the second an immaterial change.
"""


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the large pair")
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement of cost")
    parser.add_argument("--trials", type=int, default=200, help="of each setting")
    parser.add_argument(
        "--seconds", type=float, default=90.0, help="after which a tool gets no more trials of one"
    )
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    options = parser.parse_args()
    for tool in options.tools:
        print(f"{tool:14}{TOOLS[tool].call}")
    _costs(options.rows, options.repeats, options.tools)
    judges = [tool for tool in options.tools if TOOLS[tool].rules]
    _powers(options.trials, judges, options.seconds)


def _costs(rows: int, repeats: int, tools: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for layout, size in ((WIDE, rows), (NARROW, SMALL)):
            pair = folder / str(size)
            _in_a_process(write_pair, pair, layout, size)
            columns = sum(layout[:3]) + len(layout.levels)
            print_cost(f"{size:,} x {columns} and as many", pair, tools, repeats)
        print_process_cost("The small pair", folder / str(SMALL), tools, repeats)


def _powers(trials: int, tools: Sequence[str], seconds: float) -> None:
    errors: list[str] = []
    print(LEGEND)
    print_header(tools)
    for setting in SETTINGS:
        with tempfile.TemporaryDirectory() as name:
            _in_a_process(write_trials, Path(name), setting, trials)
            errors += print_row(setting, Path(name), tools, seconds)
    print("", *dict.fromkeys(errors), sep="\n")


def _in_a_process(work: Callable[..., None], *arguments: object) -> None:
    """Do it in a process of its own: memory once used here would count as that of the peers."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("The data could not be written; see above.")


if __name__ == "__main__":
    main()
