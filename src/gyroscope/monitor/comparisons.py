"""Well-known drift detectors of the library River, to hold ours against; none decides anything.

They watch a stream of single values, with the settings that River gives them, and promise no rate
of false alarms. Needs the extra ``detectors``.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from gyroscope.errors import DataError, MissingExtraError, UsageError

COMPARISONS = {
    "adwin": "river.drift:ADWIN",
    "ddm": "river.drift.binary:DDM",
    "page_hinkley": "river.drift:PageHinkley",
}


def first_alarm(name: str, values: npt.ArrayLike) -> int | None:
    """The index of the value at which a detector first signals a change; None if it never does.

    Args:
        name: one of ``COMPARISONS``: ``adwin`` (Bifet and Gavalda 2007, Learning from time-changing
            data with adaptive windowing, SDM) finds a changed mean, ``ddm`` (Gama, Medas, Castillo
            and Rodrigues 2004, Learning with drift detection, SBIA) a risen share of errors,
            ``page_hinkley`` (Page 1954, Biometrika 41) a changed mean of values of about unit
            scale.
        values: the stream[n], finite, such as losses in [0, 1]; ``ddm`` takes errors in {0, 1}.

    Raises:
        UsageError: no detector of that name.
        DataError: values that are no stream of numbers, or for ``ddm`` others than 0 and 1.
        MissingExtraError: River is not installed.
    """
    if name not in COMPARISONS:
        raise UsageError(f"no detector {name!r} to compare with; known: {', '.join(COMPARISONS)}")
    stream = np.asarray(values, dtype=np.float64)
    if stream.ndim != 1 or not np.isfinite(stream).all():
        raise DataError(f"a stream is one row of finite numbers, got shape {stream.shape}")
    if name == "ddm" and not np.isin(stream, (0, 1)).all():
        raise DataError("ddm takes errors, 0 or 1; for losses take adwin or page_hinkley")
    detector = _detector(name)
    for k, value in enumerate(stream.tolist()):
        detector.update(value)
        if detector.drift_detected:
            return k
    return None


def _detector(name: str) -> Any:  # River is untyped where it is compiled
    module, _, attribute = COMPARISONS[name].partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)()
    except ModuleNotFoundError as error:
        if error.name == "river":
            raise MissingExtraError("River", "detectors") from None
        raise
