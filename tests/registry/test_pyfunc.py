"""A registered version is an ordinary MLflow model, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow import csv

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.keys import Keys
from gyroscope.errors import BundleError, DataError, RowError
from gyroscope.model import CHAMPION, ModelVersion
from gyroscope.registry.pyfunc import KEYS_VARIABLE, UNSIGNED_VARIABLE, BundleModel, _load_pyfunc
from gyroscope.registry.registry import Registry
from gyroscope.testing.worlds import CALM, to_table

EVENTS = CALM.events(0, 1)
ROWS = [event.row for event in EVENTS]

PREDICT = """
import json, sys, warnings
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
frame = pandas.read_csv(sys.argv[2])
print(json.dumps([model.predict(frame).tolist(), model.predict(frame[:1]).tolist()]))
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The rows as a CSV file, with the target, columns nobody asked for, and "?" for missing."""
    table = to_table(EVENTS).append_column("extra", [["x"] * len(EVENTS)])
    balance = ["?" if text == "" else text for text in table["balance"].to_pylist()]
    assert "?" in balance
    table = table.set_column(table.column_names.index("balance"), "balance", [balance])
    csv.write_csv(table, tmp_path / "rows.csv")
    return tmp_path / "rows.csv"


@pytest.fixture
def champion(registry: Registry, register: Callable[..., ModelVersion], model: str) -> str:
    """The address of a registered champion."""
    register()
    registry.set_alias(model, CHAMPION, 1)
    return f"models:/{model}@{CHAMPION}"


def test_another_process_loads_the_champion_by_its_alias_and_scores_a_csv_file(
    champion: str, bundle: Bundle, uri: str, data: Path, tmp_path: Path
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PREDICT, champion, str(data)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri, KEYS_VARIABLE: str(tmp_path / "keys")},
    )
    assert ran.returncode == 0, ran.stderr
    found, first = json.loads(ran.stdout)
    expected = bundle.probabilities(bundle.encoder.encode_rows(ROWS)).tolist()
    assert found == expected
    assert first == expected[:1]


def test_mlflow_loads_what_a_trusted_key_signed_and_anything_only_if_told_so(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(tmp_path / ".gyroscope" / "keys")
    bundle.save(tmp_path / "bundle", signer=keys.signer())
    monkeypatch.setenv(KEYS_VARIABLE, str(keys.folder))
    assert _load_pyfunc(str(tmp_path / "bundle")).bundle.contract == bundle.contract
    monkeypatch.setenv(KEYS_VARIABLE, str(tmp_path / "others"))
    with pytest.raises(BundleError, match=f"is signed by an unknown key.*{UNSIGNED_VARIABLE}=yes"):
        _load_pyfunc(str(tmp_path / "bundle"))
    monkeypatch.delenv(KEYS_VARIABLE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="is signed by an unknown key"):
        _load_pyfunc("bundle")
    Path("gyroscope.yaml").write_text("workspace:\nmodels:\n")
    assert _load_pyfunc("bundle").bundle.contract == bundle.contract
    Path("bundle/manifest.sig").unlink()
    with pytest.raises(BundleError, match="is unsigned"):
        _load_pyfunc("bundle")
    monkeypatch.setenv(UNSIGNED_VARIABLE, "yes")
    assert _load_pyfunc("bundle").bundle.contract == bundle.contract


def frame(**columns: Any) -> pd.DataFrame:
    """Two rows as pandas holds them."""
    usual = {
        "age": [41, 50],
        "balance": [100.5, None],
        "plan": ["basic", "pro"],
        "region": ["north", "nowhere"],
        "active": [True, False],
        "joined": pd.to_datetime(["2022-01-01T00:00:00Z", None], utc=True),
    }
    return pd.DataFrame({**usual, **columns})


def answers(bundle: Bundle, **columns: Any) -> list[float]:
    found: list[float] = BundleModel(bundle).predict(frame(**columns)).tolist()
    return found


@pytest.mark.parametrize(
    "columns",
    [
        {"age": [41.0, 50.0]},
        {"age": ["41", " 50 "]},
        {"age": pd.array([41, 50], dtype="Int8")},
        {"balance": ["100.5", "?"]},
        {"balance": pd.Series([100.5, "?"], dtype=object)},
        {"balance": pd.Series(["100.5", float("nan")], dtype=object)},
        {"plan": pd.Categorical(["basic", "pro"])},
        {"active": ["yes", "no"]},
        {"joined": ["2022-01-01", None]},
        {"joined": pd.Series(pd.to_datetime(["2022-01-01", None]))},
        {"extra": [{"a": 1}, [2]]},
    ],
)
def test_columns_may_be_stored_as_pandas_happens_to(
    bundle: Bundle, columns: dict[str, Any]
) -> None:
    assert answers(bundle, **columns) == answers(bundle)


def test_every_value_that_does_not_fit_is_named(bundle: Bundle) -> None:
    with pytest.raises(RowError) as caught:
        BundleModel(bundle).predict(frame(age=[41, -1], plan=["what", "pro"]))
    assert [(p.row, p.field, p.given) for p in caught.value.problems] == [
        (1, "age", "-1"),
        (0, "plan", "'what'"),
    ]


def test_a_column_that_is_not_there_is_named(bundle: Bundle) -> None:
    with pytest.raises(DataError, match="the data have no column 'plan'"):
        BundleModel(bundle).predict(frame().drop(columns=["plan"]))


def test_an_empty_frame_has_no_probabilities(bundle: Bundle) -> None:
    assert BundleModel(bundle).predict(frame()[:0]).shape == (0,)


def test_the_index_of_a_frame_does_not_matter(bundle: Bundle) -> None:
    shuffled = frame().set_index(np.array([7, 3]))
    assert BundleModel(bundle).predict(shuffled).tolist() == answers(bundle)
