"""The model that all tools serve, and the rows that are sent: numbers and categories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

NUMBERS, LEVELS = 14, (2, 3, 4, 6, 8, 12)  # columns of numbers; categories of each other column
TREES, LEAVES = 200, 31
TRAINING, SENT = 20_000, 20_000  # rows
TARGET = "churned"

Row = dict[str, Any]


def made(n: int, rng: np.random.Generator) -> pa.Table:
    """Rows with a nonlinear margin, a twentieth of the numbers missing."""
    numbers = {f"n{i}": np.round(rng.normal(size=n), 4) for i in range(NUMBERS)}
    codes = {f"c{i}": rng.integers(0, levels, n) for i, levels in enumerate(LEVELS)}
    margin = numbers["n0"] * numbers["n1"] + np.sin(2 * numbers["n2"]) + codes["c1"] - 1
    margin += (codes["c4"] % 3 - 1) * numbers["n3"]
    columns = {
        name: pa.array(values, mask=rng.random(n) < 0.05) for name, values in numbers.items()
    }
    for name, code in codes.items():
        columns[name] = pa.array([f"{name} level {k}" for k in code])
    labels = np.where(rng.random(n) < 1 / (1 + np.exp(-margin)), "yes", "no")
    return pa.table({**columns, TARGET: labels})


def make(folder: Path) -> list[Row]:
    """Write train.csv and a state folder with our bundle of the model; the rows to send."""
    rng = np.random.default_rng(20)
    training = made(TRAINING, rng)
    pyarrow.csv.write_csv(training, folder / "train.csv")
    deploy(folder, training)
    rows: list[Row] = made(SENT, rng).drop_columns([TARGET]).to_pylist()
    return rows


def deploy(folder: Path, training: pa.Table) -> None:
    """Our bundle, from LightGBM with the settings of the peers, and its deployment."""
    import lightgbm

    from gyroscope.bundle.bundle import Bundle, Manifest
    from gyroscope.bundle.deployment import Deployed, Deployment
    from gyroscope.bundle.keys import Keys, keys_folder
    from gyroscope.bundle.links import Link
    from gyroscope.bundle.reference import Reference
    from gyroscope.bundle.trees import TreeScorer
    from gyroscope.data.cells import ProfileSpec
    from gyroscope.data.encoder import Encoder
    from gyroscope.data.infer import infer_contract
    from gyroscope.data.profile import Profile
    from gyroscope.data.sources import read_table
    from gyroscope.stats.excess_loss import ExcessReference
    from gyroscope.train.families.base import categorical
    from gyroscope.train.families.lightgbm import lightgbm_nodes

    table = read_table(folder / "train.csv")
    contract = infer_contract(table, target=TARGET).contract
    encoder = Encoder(contract)
    data = lightgbm.Dataset(
        encoder.encode_table(table).X,
        encoder.encode_target(table),
        categorical_feature=categorical(contract.features),
    )
    settings = {"objective": "binary", "num_leaves": LEAVES, "learning_rate": 0.05,
                "num_threads": 1, "verbosity": -1}  # fmt: skip
    booster = lightgbm.train(settings, data, num_boost_round=TREES)
    nodes = lightgbm_nodes(booster.dump_model()["tree_info"], contract.features)
    nothing = Profile(spec=ProfileSpec(columns=()), n=0, columns=())
    bundle = Bundle(
        manifest=Manifest(
            model="shop",
            family="lightgbm",
            scorer=TreeScorer.kind,
            link="logistic",
            threshold=0.5,
            metrics={},
            snapshot="0" * 64,
        ),
        contract=contract,
        scorer=TreeScorer(nodes, base=0.0, single=False),
        link=Link(kind="logistic"),
        reference=Reference(
            columns=nothing, scores=nothing, n=0, positives=0, metrics={}, excess=ExcessReference()
        ),
    )
    bundle.save(folder / "bundle", signer=Keys(keys_folder(folder / "state")).signer())
    deployed = Deployed(model="shop", version=1, bundle=str(folder / "bundle"))
    Deployment(folder / "state" / "serving" / "shop").write(deployed, None)


def our_body(rows: list[Row], explain: int) -> bytes:
    """A request of Gyroscope."""
    given = {"row": rows[0]} if len(rows) == 1 else {"rows": rows}
    return json.dumps({**given, "explain": explain}).encode()


def plain_body(rows: list[Row]) -> bytes:
    """A request of the peers that we wrote."""
    return json.dumps({"rows": rows}).encode()


def mlflow_body(rows: list[Row]) -> bytes:
    """A request of MLflow's scoring server."""
    return json.dumps({"dataframe_records": rows}).encode()


def open_inference_body(rows: list[Row]) -> bytes:
    """A request of the Open Inference Protocol, version 2, as MLServer makes a frame of it."""
    inputs = [
        {
            "name": name,
            "shape": [len(rows), 1],
            "datatype": "FP64" if name.startswith("n") else "BYTES",
            "data": [row[name] for row in rows],
            **({} if name.startswith("n") else {"parameters": {"content_type": "str"}}),
        }
        for name in rows[0]
    ]
    outputs = [{"name": "predict_proba"}]
    asked = {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": outputs}
    return json.dumps(asked).encode()
