"""Canary against champion, each on the rows that it served, judged as often as one likes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from gyroscope.data.contract import Task
from gyroscope.data.performance import losses_in_nats
from gyroscope.data.remarks import counted
from gyroscope.findings import Finding, Interval, Kind, Verdict, Window
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.clustered import ClusteredMean, clustered_mean
from gyroscope.stats.confidence_sequences import normal_mixture_half_width

CHECK = "log_loss_difference"

_RARER_ROWS = 10  # of the rarer class; with fewer the errors of a loss are not known
_LEAST_ERROR = 1e-12  # nats
_BEST_AT = 0.05  # nats: narrowest at this error of the difference, some hundred rows of a canary


class Served(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The labelled rows that one version served."""

    version: int
    y: FloatArray  # float64[n] in {0, 1}, or classes from 0 on, or numbers
    score: FloatArray  # as served, float64[n] or float64[n, classes]
    entity: Sequence[str]  # of each row; rows of one entity may depend on each other
    task: Task = "binary"
    rmse: float | None = None  # of the champion when it was new; of models of values


def compare_canary(
    champion: Served, canary: Served, window: Window, *, alpha: float, min_rows: int
) -> Finding:
    """How much larger the log-loss of the canary is, with an interval valid at every look.

    Whom a row went to was decided by a hash of its entity, so that both versions served the same
    population, and the difference of the mean losses is due to the versions as long as the share
    did not change. Rows of an entity always went to the same version: the errors are those of
    entities, or of rows if they are larger.

    Args:
        champion: what the champion served while the canary had its present share.
        canary: what the canary served in that time.
        window: that time.
        alpha: chance that, at any look, the interval leaves out the truth.
        min_rows: labelled rows that each version needs before anything is said.

    Returns:
        The difference in nats a row, canary less champion. It is an alarm if the canary is surely
        worse, a notice if it is surely better.

    Raises:
        DataError: labels or scores that cannot be used.
    """
    subject = f"version {canary.version} against {champion.version}"
    counts = (
        f"{counted(len(canary.y), 'labelled row')} of the canary, "
        f"{len(champion.y):,} of the champion"
    )
    of_each = f" with {_RARER_ROWS} of each class" if champion.task == "binary" else ""
    ours, its = _loss(champion), _loss(canary)
    if ours is None or its is None or not all(_enough(s, min_rows) for s in (champion, canary)):
        return Finding(
            kind=Kind.CANARY,
            check=CHECK,
            subject=subject,
            verdict=Verdict.NOT_ENOUGH_DATA,
            detail=f"{counts}; each needs {min_rows:,}{of_each}.",
            window=window,
            n=len(canary.y),
            n_needed=max(min_rows, 2 * _RARER_ROWS),
        )
    difference = its.value - ours.value
    error = math.hypot(_error(ours), _error(its))
    half = float(normal_mixture_half_width(error, best_at=_BEST_AT, alpha=alpha))
    interval = Interval(difference - half, difference + half)
    verdict, words = _judged(interval)
    return Finding(
        kind=Kind.CANARY,
        check=CHECK,
        subject=subject,
        verdict=verdict,
        detail=f"The log-loss of version {canary.version} is {its.value:.4f} nats and that of "
        f"version {champion.version} {ours.value:.4f}: {difference:+.4f} ({1 - alpha:.0%} interval "
        f"at all looks {interval.low:+.4f} to {interval.high:+.4f}), {words}; {counts}.",
        window=window,
        n=its.n,
        value=difference,
        interval=interval,
        threshold=0.0,
    )


def _loss(served: Served) -> ClusteredMean | None:
    losses = losses_in_nats(served.task, served.y, served.score, served.rmse)
    return clustered_mean(losses, clusters=served.entity)


def _enough(served: Served, min_rows: int) -> bool:
    n = len(served.y)
    if served.task != "binary":
        return n >= min_rows
    positives = int(served.y.sum())
    return n >= min_rows and min(positives, n - positives) >= _RARER_ROWS


def _error(loss: ClusteredMean) -> float:
    """The larger of the errors of rows and of entities; a least one, of rounding, if both are 0."""
    return float(np.fmax(loss.row_error, loss.cluster_error)) + _LEAST_ERROR


def _judged(interval: Interval) -> tuple[Verdict, str]:
    if interval.low > 0:
        return Verdict.ALARM, "the canary is surely worse"
    if interval.high < 0:
        return Verdict.NOTICE, "the canary is surely better"
    return Verdict.OK, "no difference is proven"
