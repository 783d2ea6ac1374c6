"""How much of a population is of levels that a sample has not seen."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from gyroscope.stats.counts import checked_counts


class UnseenShare(msgspec.Struct, frozen=True, kw_only=True):
    """The share of unseen levels, known as well as from ``successes`` in ``n`` trials."""

    value: float  # in [0, 1]; 0 for an empty sample
    successes: int
    n: int  # at most the sample's size


def unseen_share(counts: npt.ArrayLike, *, unlisted: int = 0) -> UnseenShare:
    """The expected share, in the next sample, of levels that this sample's list does not have.

    It is about the share of levels seen exactly once (Good 1953). Its squared error is about that
    of (f1 + 2 f2) / n^2, with f1 levels seen once and f2 seen twice (Esty 1983): larger than that
    of a proportion of f1 in n, which the result makes up for by counting fewer trials.

    Good's estimate leaves each observation out in turn and asks whether the others have its level.
    A list of only the most frequent levels has chosen those that chance favoured. Its least
    frequent, seen c times, would not be listed but for the one left out; those seen once more would
    be among all seen c times, of which only some are listed. How many there are is known if c = 1,
    and else taken to fall with the square of c, as in Zipf's law.

    Args:
        counts: counts[levels] of the levels listed.
        unlisted: observations of other levels, which are as unseen as those never observed.

    Raises:
        DataError: the counts cannot be used.

    Source:
        Good (1953), The population frequencies of species and the estimation of population
        parameters, Biometrika 40; Esty (1983), A normal limit law for a nonparametric estimator of
        the coverage of a random sample, Annals of Statistics 11.
    """
    held = checked_counts(counts, "level")
    n = float(held.sum()) + unlisted
    least = float(np.min(held, where=held > 0, initial=np.inf))
    # Were the list one of the most frequent levels, c^2 or fewer others would be few levels: then
    # it has been chosen otherwise, or chance has hardly had a say.
    chosen = least**2 <= unlisted
    c = least if chosen else 1.0
    last, above = (float(np.count_nonzero(held == seen)) for seen in (c, c + 1))
    alike = last + unlisted if c == 1 else max(above * ((c + 1) / c) ** 2, last)
    falls = above * (1 - last / alike) if chosen else 0.0
    successes = unlisted + c * last + (c + 1) * falls
    if successes == 0:
        return UnseenShare(value=0.0, successes=0, n=round(n))
    square = unlisted + c**2 * last + c * (c + 1) * above + (c + 1) ** 2 * falls
    weight = successes / square
    return UnseenShare(
        value=successes / n, successes=round(successes * weight), n=round(n * weight)
    )
