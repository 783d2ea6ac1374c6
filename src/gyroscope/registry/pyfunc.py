"""Lets ``mlflow.pyfunc.load_model`` load a registered version.

Whoever loads it may have no workspace: files and signature are checked always, whose signature it
is only where the environment variable GYROSCOPE_TRUSTED_KEYS names a folder of keys, such as
``.gyroscope/keys`` of the workspace that made it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.estimator import ALLOW_LIST
from gyroscope.bundle.keys import Keys
from gyroscope.errors import RowError

KEYS_VARIABLE = "GYROSCOPE_TRUSTED_KEYS"
TYPES_VARIABLE = f"GYROSCOPE_{ALLOW_LIST.upper()}"


class BundleModel:
    """A bundle with the interface of an MLflow Python model."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> NDArray[np.float64]:
        """Scores for a pandas DataFrame, ``float64[n]`` or ``float64[n, classes]``: see
        :meth:`Bundle.scores`.

        Raises:
            RowError: a column has a value that does not fit the contract.
            DataError: a feature column is absent.
        """
        import pyarrow as pa

        wanted = [column.name for column in self.bundle.contract.features]
        present = [name for name in wanted if name in data.columns]
        table = pa.table({name: _array(data[name]) for name in present})
        encoded = self.bundle.encoder.encode_table(table)
        if encoded.problems:
            raise RowError(encoded.problems)
        return self.bundle.scores(encoded.X)


def _array(column: Any) -> Any:
    """A pandas Series as an Arrow array; as text if it holds values of several types."""
    import pyarrow as pa

    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array(column.astype("string"), from_pandas=True)


def _load_pyfunc(path: str) -> BundleModel:
    """Called by MLflow with the folder of the bundle.

    Types beside those of scikit-learn, for estimators of the user's own, are trusted if the
    environment variable of the setting names them.
    """
    folder = os.environ.get(KEYS_VARIABLE)
    trusted = Keys(Path(folder)).trusted() if folder else None
    types = tuple(yaml.safe_load(os.environ.get(TYPES_VARIABLE, "[]")))
    return BundleModel(Bundle.load(Path(path), trusted=trusted, trusted_types=types))
