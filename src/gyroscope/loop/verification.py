"""Proof that the log is what was served: scores again, bit for bit."""

from __future__ import annotations

import msgspec
import numpy as np

from gyroscope.loop.logged import labelled_rows, stretches
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
    log, n, different = world.log(model), 0, 0
    for window in stretches(log):
        versions = sorted({prediction.version for prediction in log.read(window).predictions})
        for version in versions:
            bundle = world.bundle(model, version)
            rows = labelled_rows(log, bundle.contract, window)
            served = rows.version == version
            again, logged = bundle.scores(rows.X[served]), rows.score[served]
            n += len(logged)
            differ = again.view(np.int64) != np.ascontiguousarray(logged).view(np.int64)
            different += int(differ.reshape(len(logged), -1).any(axis=1).sum())
    return Replayed(rows=n, different=different)
