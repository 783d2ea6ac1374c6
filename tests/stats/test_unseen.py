import math

import numpy as np
import pytest

from gyroscope.stats.two_proportions import two_proportions
from gyroscope.stats.unseen import unseen_share


def test_it_is_the_share_seen_once() -> None:
    result = unseen_share([50, 1, 47, 1, 1])
    assert result.value == pytest.approx(0.03)
    assert (result.successes, result.n) == (3, 100)


def test_levels_seen_twice_make_it_less_certain_but_not_larger() -> None:
    result = unseen_share([50, 1, 1, 2, 46])
    assert result.value == pytest.approx(0.02)
    assert (result.successes, result.n) == (1, 50)


def test_unlisted_observations_are_unseen_themselves() -> None:
    assert unseen_share([60, 30], unlisted=10).value == pytest.approx(0.1)


def test_without_lone_levels_nothing_unseen_is_expected() -> None:
    assert unseen_share([60, 30]).value == 0.0
    assert unseen_share([]).value == 0.0


@pytest.mark.parametrize(("m", "n"), [(2000, 500), (2000, 5000), (20_000, 20_000)])
def test_new_samples_of_one_population_are_rarely_called_new(m: int, n: int) -> None:
    rng = np.random.default_rng(11)
    shares = 1 / np.arange(1, 1201)
    shares /= shares.sum()
    runs, called = 400, 0
    for a, b in zip(
        rng.multinomial(m, shares, runs), rng.multinomial(n, shares, runs), strict=True
    ):
        expected = unseen_share(a)
        found = two_proportions(expected.successes, expected.n, int(b[a == 0].sum()), n)
        called += found.p_value <= 0.05
    assert called / runs <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize(("levels", "m"), [(1500, 10_000), (3000, 10_000), (3000, 30_000)])
def test_a_list_of_the_most_frequent_levels_leaves_out_what_is_expected(
    levels: int, m: int
) -> None:
    rng = np.random.default_rng(12)
    shares = 1 / np.arange(1, levels + 1)
    shares /= shares.sum()
    expected, naive, left_out = [], [], []
    for counts in rng.multinomial(m, shares, 20):
        listed = np.argsort(-counts, kind="stable")[:1000]
        unlisted = m - int(counts[listed].sum())
        expected.append(unseen_share(counts[listed], unlisted=unlisted).value)
        naive.append(unlisted / m)
        left_out.append(1 - shares[listed].sum())
    excess = np.mean(expected) - np.mean(left_out)
    assert -0.002 < excess < 0.01
    assert abs(excess) < (np.mean(left_out) - np.mean(naive)) / 2
