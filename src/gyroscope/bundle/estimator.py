"""The user's own scikit-learn estimator, kept and loaded by skops.

The one scorer that is not arrays of numbers: loading it builds objects, of types that scikit-learn
is known for and of those the operator allows, never of those the file asks for.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gyroscope.bundle.base import Arrays, Contributions, Matrix, Vector
from gyroscope.data.contract import Task
from gyroscope.errors import BundleError, MissingExtraError

ALLOW_LIST = "trusted_types"  # the setting that names further types
_HARMLESS = {"numpy.dtype"}  # read from an empty array; skops would have it named
_STEP = 2.0**-23  # of the grid on which answers lie, of 1, of ``size`` or of a larger answer
NOISE = 1e-11  # by which the answer to a row may differ from batch to batch, of the same
_LARGEST_SCHEMA = 64 << 20  # bytes
_NO_ARCHIVE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # of the files in an archive: equal estimators give equal bytes


class EstimatorScorer:
    """What an estimator answers, on a grid, so that a row gets the same bits in any batch.

    The last bits of what an estimator answers depend on the rows it is asked with. Probabilities
    are rounded to multiples of 2^-23, values to multiples of 2^-23 of ``size`` or, beyond it, of
    the power of two above them; a row that lies too near to the middle between two multiples is
    asked alone. Where the grid widens, each has the point in common, so that no noise tells them
    apart.

    Slower than the other scorers by two orders of magnitude, and not explained: an estimator of any
    kind has no exact Shapley values that could be had in less than all subsets of features.
    """

    kind = "estimator"
    explains = False

    def __init__(
        self,
        content: bytes,
        *,
        trusted_types: Sequence[str],
        task: Task = "binary",
        size: float = 1.0,  # of usual values: a power of two
    ) -> None:
        """Load what :func:`stored_estimator` gave; raises like :func:`loaded_estimator`."""
        self._content, self._task, self._size = content, task, size
        self._estimator = loaded_estimator(content, trusted_types)

    def margins(self, X: Matrix) -> Vector:
        """Probabilities ``float64[n]``, those of all classes ``float64[n, classes]``, or values
        ``float64[n]``; NaN where the estimator refuses the row."""
        if len(X) > 1:
            try:
                found = self._answers(X)
                steps = found / self._step(found)
                middle = np.abs(steps - np.floor(steps) - 0.5)
                unsure = ~(middle > NOISE / _STEP).reshape(len(X), -1).all(axis=1)
                for i in np.flatnonzero(unsure):
                    found[i] = self._alone(X[i])
            except ValueError:  # of some row
                found = np.array([self._alone(row) for row in X], dtype=np.float64)
        else:
            found = np.array([self._alone(row) for row in X], dtype=np.float64)
        step = self._step(found)
        margins: Vector = np.round(found / step) * step + 0.0  # there is one zero, without a sign
        return margins

    def _answers(self, X: Matrix) -> Vector:
        return np.array(answer(self._estimator, self._task, X), dtype=np.float64)

    def _step(self, answers: Vector) -> Vector:
        """The distance of the points of the grid at these answers."""
        step: Vector = np.maximum(_STEP * self._size, np.ldexp(_STEP, np.frexp(answers)[1]))
        return step

    def _alone(self, row: Vector) -> Any:
        try:
            return self._answers(row[None])[0]
        except ValueError:
            n_classes = len(self._estimator.classes_) if self._task == "multiclass" else 0
            return np.full(n_classes, np.nan) if n_classes else np.nan

    def contributions(self, X: Matrix) -> Contributions:
        raise NotImplementedError("an estimator of your own is not explained; see explains")

    def arrays(self) -> Arrays:
        arrays: Arrays = {"skops": np.frombuffer(self._content, dtype=np.uint8)}
        return arrays | ({"size": np.array([self._size])} if self._task == "regression" else {})

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, NDArray[np.generic]],
        *,
        trusted_types: Sequence[str] = (),
        task: Task = "binary",
    ) -> Self:
        size = float(arrays["size"][0]) if task == "regression" else 1.0
        return cls(arrays["skops"].tobytes(), trusted_types=trusted_types, task=task, size=size)


def answer(estimator: Any, task: Task, X: Matrix) -> Vector:
    """What an estimator says of rows: ``float64[n]``, or ``float64[n, classes]``."""
    if task == "regression":
        return np.asarray(estimator.predict(X), dtype=np.float64).ravel()
    shares: Vector = estimator.predict_proba(X)
    return shares if task == "multiclass" else shares[:, 1]


def loaded_estimator(content: bytes, trusted_types: Sequence[str]) -> Any:
    """The estimator in the bytes of a skops file.

    ``trusted_types`` are full names of types allowed beside those that skops trusts by itself:
    most of scikit-learn, NumPy and SciPy, but not trees nor the indexes of neighbours. No code of
    the file runs, but arrays that were crafted, as those of a support-vector machine, can make
    the process read where it must not: load only what somebody vouches for.

    Raises:
        MissingExtraError: skops is not installed.
        BundleError: the bytes are no skops file, or need a type that is not allowed.
    """
    skops = _skops()
    try:
        untrusted = skops.get_untrusted_types(data=content)
        refused = [name for name in untrusted if name not in {*_HARMLESS, *trusted_types}]
        if refused:
            raise BundleError(
                f"the estimator needs types that are not trusted: {', '.join(refused)}; loading "
                "them runs code on what the file says: if you know types and file, name them in "
                f"the setting {ALLOW_LIST}"
            )
        return skops.loads(content, trusted=untrusted)
    except BundleError:
        raise
    except Exception as error:  # noqa: BLE001 (skops, and the types that it builds, raise anything)
        raise BundleError(f"the estimator cannot be read by skops: {error!r}") from None


def estimator_types(content: bytes) -> list[str]:
    """Full names of all types that the bytes of a skops file ask for, sorted; none is looked up.

    Raises:
        BundleError: the bytes are no skops file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open("schema.json") as file:
            text = file.read(_LARGEST_SCHEMA + 1)
        if len(text) > _LARGEST_SCHEMA:
            raise BundleError(f"the estimator needs more than {_LARGEST_SCHEMA:,} bytes to say how")
        found = {f"{node['__module__']}.{node['__class__']}" for node in _nodes(json.loads(text))}
    except (LookupError, ValueError, RecursionError, OSError, *_NO_ARCHIVE) as error:
        raise BundleError(f"the estimator cannot be read: {error!r}") from None
    return sorted(found)


def stored_estimator(estimator: Any) -> bytes:
    """The estimator as a skops file, the same bytes for equal estimators.

    Raises:
        MissingExtraError: skops is not installed.
    """
    dumped = zipfile.ZipFile(io.BytesIO(_skops().dumps(estimator)))
    schema = json.loads(dumped.read("schema.json"))
    numbers: dict[Any, int] = {}
    for node in _nodes(schema):  # skops tells objects and files apart by their address in memory
        node["__id__"] = numbers.setdefault(node["__id__"], len(numbers))
    files: dict[str, str] = {}
    for node in _nodes(schema):
        if "file" in node:
            name = node["file"]
            node["file"] = files.setdefault(name, f"{len(files)}.{name.rpartition('.')[2]}")
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, new in files.items():
            archive.writestr(zipfile.ZipInfo(new, _NO_TIME), dumped.read(name))
        archive.writestr(zipfile.ZipInfo("schema.json", _NO_TIME), json.dumps(schema))
    return written.getvalue()


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """All objects of a skops schema that have an id, in their order."""
    if isinstance(schema, dict):
        if "__id__" in schema:
            yield schema
        for value in schema.values():
            yield from _nodes(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _nodes(value)


def _skops() -> Any:
    try:
        import skops.io
    except ModuleNotFoundError as error:
        if error.name != "skops":
            raise
        raise MissingExtraError("skops", "estimator") from None
    return skops.io
