"""CPU microseconds a row to score and to explain the trees of LightGBM: ours next to the libraries.

One thread, rows that are all different, the least of several runs in turns. "alone" hands over one
row a call, as a request does; "together" all rows at once. The difference is the largest from
LightGBM's own answer.

Run: python benchmarks/scoring.py [--trees 200] [--leaves 31] [--columns 20] [--rows 2000]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import lightgbm
import msgspec
import numpy as np
import numpy.typing as npt
import shap

from gyroscope.bundle.numpy_trees import NumpyTrees
from gyroscope.data.contract import Column, ColumnType
from gyroscope.kernels import compiled
from gyroscope.kernels.trees import CompiledTrees
from gyroscope.train.families.lightgbm import lightgbm_nodes

RUNS = 5
SECONDS = 0.1  # that a run takes at least, unless it comes to the end of the rows

Rows = npt.NDArray[np.float64]
Answer = Callable[[Rows], Rows]


def fitted(trees: int, leaves: int, columns: int, rng: np.random.Generator) -> lightgbm.Booster:
    """A model of a nonlinear margin, with a tenth of the values missing."""
    X = made_rows(20_000, columns, rng)
    filled = np.nan_to_num(X)
    margin = filled[:, 0] * filled[:, 1] + np.sin(2 * filled[:, 2]) + filled[:, 3:8].sum(axis=1) / 2
    y = rng.uniform(size=len(X)) < 1 / (1 + np.exp(-margin))
    settings = {"objective": "binary", "num_leaves": leaves, "learning_rate": 0.05,
                "num_threads": 1, "verbosity": -1}  # fmt: skip
    return lightgbm.train(settings, lightgbm.Dataset(X, y), num_boost_round=trees)


def made_rows(n: int, columns: int, rng: np.random.Generator) -> Rows:
    """Rows of normal numbers."""
    X = rng.normal(size=(n, columns))
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    return X


def microseconds(answer: Answer, rows: Rows, size: int) -> float:
    """CPU time a row, for ``size`` rows a call."""
    began = time.process_time()
    done = 0
    while done < len(rows):
        answer(rows[done : done + size])
        done += min(size, len(rows) - done)
        if time.process_time() - began > SECONDS:
            break
    return 1e6 * (time.process_time() - began) / done


def table(title: str, answers: dict[str, Answer], rows: Rows) -> None:
    """Print the times and differences of all that answer the same question."""
    print(f"\n{title:32}{'alone':>12}{'together':>12}{'difference':>12}")
    alone: dict[str, list[float]] = {name: [] for name in answers}
    together: dict[str, list[float]] = {name: [] for name in answers}
    for _ in range(RUNS):
        for name, answer in answers.items():
            alone[name].append(microseconds(answer, rows, 1))
            together[name].append(microseconds(answer, rows, len(rows)))
    some = rows[:50]
    theirs = answers["LightGBM"](some)
    for name, answer in answers.items():
        times = "".join(f"{min(t[name]):9.2f} us" for t in (alone, together))
        print(f"{name:32}{times}{np.abs(answer(some) - theirs).max():12.1e}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("trees", 200), ("leaves", 31), ("columns", 20), ("rows", 2000)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    booster = fitted(given.trees, given.leaves, given.columns, rng)
    columns = tuple(Column(name=f"x{j}", type=ColumnType.NUMBER) for j in range(given.columns))
    nodes = lightgbm_nodes(booster.dump_model()["tree_info"], columns)
    rows = made_rows(given.rows, given.columns, rng)
    ours: dict[str, CompiledTrees | NumpyTrees] = {}
    if compiled():
        fields = msgspec.structs.asdict(nodes)
        ours["ours, in C"] = CompiledTrees(**fields, base=0.0, single=False)
    ours["ours, in NumPy"] = NumpyTrees(nodes, base=0.0, single=False)
    explainer = shap.TreeExplainer(booster)
    print(f"{given.trees} trees, {given.leaves} leaves, {given.columns} columns, one thread")
    table(
        "margin of a row",
        {
            **{name: trees.margins for name, trees in ours.items()},
            "LightGBM": lambda X: booster.predict(X, raw_score=True, num_threads=1),
        },
        rows,
    )
    table(
        "Shapley values of a row",
        {
            **{name: trees.shapley_values for name, trees in ours.items()},
            "LightGBM": lambda X: booster.predict(X, pred_contrib=True, num_threads=1)[:, :-1],
            "shap.TreeExplainer": lambda X: explainer.shap_values(X, check_additivity=False),
        },
        rows,
    )


if __name__ == "__main__":
    main()
