import pytest
from scipy.stats import chi2, ncx2

from gyroscope.stats.noncentral_chi_square import chi_square_tail, noncentrality_interval


def test_the_tail_is_that_of_the_distribution() -> None:
    assert chi_square_tail(16.919, 9) == pytest.approx(0.05, abs=1e-4)  # tabled critical value
    assert chi_square_tail(200.0, 3) == pytest.approx(float(chi2.sf(200, 3)))


@pytest.mark.parametrize("df", [1, 2, 9, 50, 999])
@pytest.mark.parametrize("noncentrality", [5.0, 60.0, 5000.0])
def test_the_ends_leave_out_what_they_should(df: int, noncentrality: float) -> None:
    statistic = df + noncentrality
    interval = noncentrality_interval(statistic, df)
    if interval.low > 0:
        assert ncx2.sf(statistic, df, interval.low) == pytest.approx(0.025, abs=0.008)
    assert ncx2.cdf(statistic, df, interval.high) == pytest.approx(0.025, abs=0.008)


@pytest.mark.parametrize("df", [2, 5, 9, 30, 999])
def test_no_change_is_outside_as_rarely_as_the_level_says(df: int) -> None:
    low, high = 0.0, 10.0 * df + 20
    while high - low > 1e-9:  # the statistic from which on the interval leaves out zero
        middle = (low + high) / 2
        outside = noncentrality_interval(middle, df).low > 0
        low, high = (low, middle) if outside else (middle, high)
    assert 0.018 <= chi2.sf(high, df) <= 0.0255


def test_with_one_degree_of_freedom_it_is_the_interval_of_a_normal() -> None:
    interval = noncentrality_interval(25.0, 1)
    assert interval.low == pytest.approx((5 - 1.959964) ** 2, rel=1e-6)
    assert interval.high == pytest.approx((5 + 1.959964) ** 2, rel=1e-6)


def test_an_unusually_small_statistic_does_not_shorten_the_interval() -> None:
    assert noncentrality_interval(-3.0, 9) == noncentrality_interval(9.0, 9)
