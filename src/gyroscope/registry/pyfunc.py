"""Lets ``mlflow.pyfunc.load_model`` load a registered version.

Only what a trusted key signed is loaded. The keys, and types for estimators of the user's own, are
those of the workspace in the current folder. Whoever has none names a folder of keys in the
environment variable GYROSCOPE_TRUSTED_KEYS, such as ``.gyroscope/keys`` of the workspace that made
it, or takes anybody's bundle by GYROSCOPE_UNSIGNED=yes; then estimators of one's own are refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.keys import Keys
from gyroscope.bundle.trust import trust_in
from gyroscope.errors import BundleError, RowError

KEYS_VARIABLE = "GYROSCOPE_TRUSTED_KEYS"
UNSIGNED_VARIABLE = "GYROSCOPE_UNSIGNED"


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
    """Called by MLflow with the folder of the bundle; raises BundleError and ConfigError."""
    if os.environ.get(UNSIGNED_VARIABLE) == "yes":
        return BundleModel(Bundle.load(Path(path)))
    trust = trust_in(Path())
    folder = os.environ.get(KEYS_VARIABLE)
    trusted = Keys(Path(folder)).trusted() if folder else trust.keys
    try:
        return BundleModel(Bundle.load(Path(path), trusted=trusted, trusted_types=trust.types))
    except BundleError as error:
        raise BundleError(
            f"{error}. Trusted are the keys of the folder in {KEYS_VARIABLE}, or else of the "
            f"workspace in the current folder; {UNSIGNED_VARIABLE}=yes takes anybody's bundle"
        ) from None
