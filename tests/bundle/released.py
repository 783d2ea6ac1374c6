"""Makes the bundles that later releases must load, before each release that changes their format.

    python -m tests.bundle.released tests/bundle/data

The bytes are the same each time on one machine. Those that are there already are never made anew:
they are what an older release made.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gyroscope.bundle.base import Matrix
from gyroscope.bundle.bundle import Bundle, Manifest
from gyroscope.bundle.environment import build_environment
from gyroscope.bundle.keys import WorkspaceSigner
from gyroscope.data.contract import Task
from gyroscope.data.infer import infer_contract
from gyroscope.data.splits import split_rows
from gyroscope.data.training_set import load_training_set
from gyroscope.train.candidates import Plan, fit_candidates
from gyroscope.train.reference import make_reference

# By format: the bundles with their task and family.
KINDS: dict[int, dict[str, tuple[Task, str]]] = {
    2: {"binary": ("binary", "hist_gradient_boosting")},
    3: {
        "multiclass": ("multiclass", "hist_gradient_boosting"),
        "multiclass-additive": ("multiclass", "logistic_regression"),
        "multiclass-shared-splits": ("multiclass", "decision_tree"),
        "regression": ("regression", "hist_gradient_boosting"),
        "regression-additive": ("regression", "linear_regression"),
    },
}
SIGNER = WorkspaceSigner(Ed25519PrivateKey.from_private_bytes(sha256(b"released").digest()))
_DAY_0 = datetime(2026, 1, 1, tzinfo=UTC)
_CLASSES = {"binary": ("no", "yes"), "multiclass": ("ash", "elm", "oak")}


def table(task: Task, n: int = 400) -> pa.Table:
    """Rows of ten days with what became of them: every type of column, some values missing."""
    random = np.random.default_rng(0)
    x, day = random.normal(size=n), np.sort(random.uniform(0, 10, n))
    plan, active = random.choice(["basic", "plus", "pro"], n), random.uniform(size=n) < 0.5
    effect = x + (plan == "plus") - active + 0.3 * random.normal(size=n)
    outcome: Any = 1000 + 50 * effect
    if task != "regression":
        names = _CLASSES[task]
        ends = np.quantile(effect, np.linspace(0, 1, len(names) + 1)[1:-1])
        outcome = np.array(names)[np.searchsorted(ends, effect)]
    return pa.table(
        {
            "at": pa.array([_DAY_0 + timedelta(days=float(d)) for d in day]),
            "x": pa.array(x, mask=random.uniform(size=n) < 0.1),
            "plan": pa.array(plan, mask=random.uniform(size=n) < 0.1),
            "active": active,
            "outcome": outcome,
        }
    )


def bundle(name: str, task: Task, family: str) -> Bundle:
    """A model trained on those rows."""
    contract = infer_contract(table(task), target="outcome", time="at").contract
    assert contract.task == task
    rows = load_training_set(table(task), contract).rows
    n_classes = len(contract.classes) or 2
    split = split_rows(rows, seed=0, task=task, n_classes=n_classes)
    everything = {"all rows": np.ones(len(rows), dtype=bool)}
    [candidate] = fit_candidates(
        Plan(rows=rows, split=split, contract=contract, families=[family], spans=everything)
    )
    scorer, link = candidate.fitted.scorer, candidate.calibration.link
    test, threshold = rows.take(split.test), 0.5 if task == "binary" else None
    p = link.probability(link.margin(scorer.margins(test.X)))
    return Bundle(
        manifest=Manifest(
            model=name,
            family=family,
            scorer=scorer.kind,
            link=link.kind,
            threshold=threshold,
            metrics=candidate.metrics,
            snapshot=rows.digest,
            trained_until=_DAY_0.isoformat(),
            environment=build_environment(),
        ),
        contract=contract,
        scorer=scorer,
        link=link,
        reference=make_reference(
            contract, rows, test, p, threshold=threshold, window=timedelta(days=1)
        ),
    )


def contributions(of: Bundle, X: Matrix) -> Matrix:
    """Of the most probable class, or of the one number: ``float64[n, p]``."""
    if of.contract.task == "multiclass":
        return of.class_contributions(X, of.scores(X).argmax(axis=1)).values
    return of.contributions(X).values


def make(folder: Path) -> None:
    """Write all bundles that are not in ``folder``, with what they answer to some rows."""
    rows = [
        {**row, "at": row["at"].isoformat()}
        for row in table("regression").drop_columns("outcome").to_pylist()[::50]
    ]
    for format_, kinds in KINDS.items():
        home = folder / f"format-{format_}"
        if home.exists():
            continue
        answers: dict[str, Any] = {
            "key": SIGNER.key,
            "rows": rows,
            "scores": {},
            "contributions": {},
        }
        for name, (task, family) in kinds.items():
            made = bundle(name, task, family)
            made.save(home / name, signer=SIGNER)
            X = made.encoder.encode_rows(rows)
            answers["scores"][name] = made.scores(X).tolist()
            answers["contributions"][name] = contributions(made, X).tolist()
        (home / "answers.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(answers), indent=1)
        )


if __name__ == "__main__":
    make(Path(sys.argv[1]))
