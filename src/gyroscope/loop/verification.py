"""Proof that the log is what was served: scores again, bit for bit."""

from __future__ import annotations

import msgspec
import numpy as np

from gyroscope.loop.logged import labelled_rows
from gyroscope.loop.world import World


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What scoring the log again has shown."""

    rows: int
    different: int  # rows whose score is not the logged one to the last bit


def replay_scores(world: World, model: str) -> Replayed:
    """Encode and score every logged row with the version that served it.

    Raises:
        NotFoundError: a version that served is gone from the registry.
        BundleError: its bundle was altered.
    """
    some = world.log(model).read(None).predictions
    different = 0
    for version in sorted({prediction.version for prediction in some}):
        bundle = world.bundle(model, version)
        rows = labelled_rows(world.log(model), bundle.contract, None)
        served = rows.version == version
        again = bundle.probabilities(rows.X[served])
        different += int((again.view(np.int64) != rows.score[served].view(np.int64)).sum())
    return Replayed(rows=len(some), different=different)
