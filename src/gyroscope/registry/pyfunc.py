"""Lets ``mlflow.pyfunc.load_model`` load a registered version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.bundle import Bundle
from gyroscope.errors import RowError


class BundleModel:
    """A bundle with the interface of an MLflow Python model."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> NDArray[np.float64]:
        """Probabilities of the positive class, ``float64[n]``, for a pandas DataFrame.

        Raises:
            RowError: a column has a value that does not fit the contract.
            DataError: a feature column is absent.
        """
        import pyarrow as pa

        table = pa.Table.from_pandas(data, preserve_index=False)
        encoded = self.bundle.encoder.encode_table(table)
        if encoded.problems:
            raise RowError(encoded.problems)
        return self.bundle.probabilities(encoded.X)


def _load_pyfunc(path: str) -> BundleModel:
    """Called by MLflow with the folder of the bundle."""
    return BundleModel(Bundle.load(Path(path)))
