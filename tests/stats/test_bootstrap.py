import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import rankdata

from gyroscope.errors import DataError, UsageError
from gyroscope.stats.auc import paired_auc
from gyroscope.stats.binary import FloatArray
from gyroscope.stats.bootstrap import _bca_levels, paired_bootstrap


def squared_error(y: FloatArray, p: FloatArray) -> float:
    return float(((y - p) ** 2).mean())


def auc(y: FloatArray, p: FloatArray) -> float:
    m, n = y.sum(), y.size - y.sum()
    if not (m and n):
        return math.nan
    return float((rankdata(p)[y == 1].sum() - m * (m + 1) / 2) / (m * n))


def models(rng: np.random.Generator, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labels, and two scores of which the second is as good as the first."""
    p = rng.random(n)
    noise = rng.normal(0, 0.1, (2, n))
    return (rng.random(n) < p).astype(float), *(np.clip(p + noise, 0, 1))


def test_the_intervals_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    y, first, second = models(rng, 150)
    found = paired_bootstrap(squared_error, y, first, second, rng, replicates=2500)
    assert found is not None
    gains = (y - second) ** 2 - (y - first) ** 2
    for method, interval in (("percentile", found.percentile), ("BCa", found.bca)):
        expected = scipy_bootstrap(
            (gains,), np.mean, n_resamples=4000, method=method, rng=np.random.default_rng(2)
        )
        slack = 0.15 * expected.standard_error
        assert interval.low == pytest.approx(expected.confidence_interval.low, abs=slack)
        assert interval.high == pytest.approx(expected.confidence_interval.high, abs=slack)
    assert found.standard_error == pytest.approx(gains.std() / math.sqrt(150), rel=0.05)


def test_its_error_of_the_auc_is_that_of_delong() -> None:
    rng = np.random.default_rng(3)
    y, first, second = models(rng, 300)
    found = paired_bootstrap(auc, y, first, second, rng, replicates=300)
    expected = paired_auc(y, first, second)
    assert found is not None
    assert expected is not None
    assert found.value == pytest.approx(expected.difference)
    assert found.standard_error == pytest.approx(expected.standard_error, rel=0.15)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_swapping_the_models_turns_the_sign(seed: int) -> None:
    y, first, second = models(np.random.default_rng(seed), 40)
    there, back = (
        paired_bootstrap(squared_error, y, *pair, np.random.default_rng(seed), replicates=200)
        for pair in ((first, second), (second, first))
    )
    assert there is not None
    assert back is not None
    assert there.value == pytest.approx(-back.value)
    assert there.percentile.low == pytest.approx(-back.percentile.high)
    assert there.p_value == pytest.approx(back.p_value)


def test_whole_clusters_widen_the_interval() -> None:
    rng = np.random.default_rng(4)
    y, first, second = (np.repeat(x, 8) for x in models(rng, 60))
    single = paired_bootstrap(squared_error, y, first, second, rng, replicates=500)
    whole = paired_bootstrap(
        squared_error, y, first, second, rng, clusters=np.repeat(np.arange(60), 8), replicates=500
    )
    assert single is not None
    assert whole is not None
    assert (whole.clusters, whole.n) == (60, 480)
    assert whole.standard_error == pytest.approx(math.sqrt(8) * single.standard_error, rel=0.2)


def test_the_interval_covers_and_false_findings_are_rare() -> None:
    rng = np.random.default_rng(5)
    runs = 100
    results = [
        paired_bootstrap(squared_error, *models(rng, 60), rng, replicates=160) for _ in range(runs)
    ]
    slack = 4 * math.sqrt(0.05 * 0.95 / runs)
    covered = [r is not None and r.bca.low <= 0 <= r.bca.high for r in results]
    assert np.mean(covered) == pytest.approx(0.95, abs=slack + 0.01)
    assert np.mean([r is not None and r.p_value <= 0.05 for r in results]) <= 0.05 + slack + 0.01


def test_an_infinite_loss_counts_as_undefined() -> None:
    def log_loss(y: FloatArray, p: FloatArray) -> float:
        with np.errstate(divide="ignore"):
            return float(-np.log(np.where(y == 1, p, 1 - p)).mean())

    y, first, second = np.ones(40), np.full(40, 0.5), np.linspace(0.4, 0.9, 40)
    rng = np.random.default_rng(7)
    assert paired_bootstrap(log_loss, y, first, np.append(second[1:], 0), rng) is None
    found = paired_bootstrap(log_loss, y, first, second, rng, replicates=200, alpha=1e-9)
    assert found is not None
    assert found.percentile.low <= found.bca.low < found.value < found.bca.high


def test_one_row_that_decides_alone_leaves_levels_in_0_to_1() -> None:
    """There the acceleration is at its largest, 1/6, and the bias far out."""
    found = np.append(np.zeros(1999), 2.0)
    low, high = _bca_levels(found, 1.0, 1 / 6, 1e-6)
    assert 0 < low < high == 1


def test_what_says_nothing_gives_none_and_what_is_wrong_is_refused() -> None:
    rng = np.random.default_rng(6)
    ones, p = np.ones(5), np.linspace(0, 1, 5)
    assert paired_bootstrap(auc, ones, p, p, rng, replicates=5) is None
    assert paired_bootstrap(squared_error, [], [], [], rng) is None
    assert paired_bootstrap(squared_error, ones, p, p, rng, clusters=ones) is None
    rare = np.array([1.0, 0.0])  # half of the resamples hold one class only
    assert paired_bootstrap(auc, rare, [0.1, 0.2], [0.3, 0.2], rng, replicates=40) is None
    never = (
        r is None
        for r in (
            paired_bootstrap(
                auc, rare, [0.1, 0.2], [0.3, 0.2], np.random.default_rng(seed), replicates=40
            )
            for seed in range(8)
        )
    )
    assert not all(never)  # no row can be left out, so that there is no jackknife
    same = paired_bootstrap(squared_error, ones, p, p, rng, replicates=50)
    assert same is not None
    assert (same.value, same.p_value, same.bca.low, same.bca.high) == (0.0, 1.0, 0.0, 0.0)
    with pytest.raises(DataError, match="a label and two scores"):
        paired_bootstrap(squared_error, ones, p, p[:2], rng)
    with pytest.raises(UsageError, match="replicates must be at least 2, got 1"):
        paired_bootstrap(squared_error, ones, p, p, rng, replicates=1)
