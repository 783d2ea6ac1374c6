"""Tails against values of 50 digits (mpmath), SciPy, and what must hold of any distribution."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.kernels import compiled, special
from gyroscope.stats import tails

EXACT = 2e-13  # relative error, of values down to 1e-306


@pytest.fixture(params=["C", "SciPy"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two in turn."""
    if request.param == "SciPy":
        monkeypatch.setattr(special, "library", lambda: None)
    elif not compiled():
        pytest.skip("no compiler was there at installation")
    return str(request.param)


@pytest.fixture
def in_c() -> None:
    if not compiled():
        pytest.skip("no compiler was there at installation")


@pytest.mark.usefixtures("in_c")
@pytest.mark.parametrize(
    ("shape", "x", "upper"),
    [
        (0.5, 700, 2.1010145162642175e-306),
        (2, 0.001, 0.999999500333208367),
        (50, 200, 1.69279799588570877e-37),
        (150.5, 300, 4.67300816335021802e-22),
        (1423.5, 2788.054491133783, 1.01255332808625048e-179),
        (30000, 31000, 5.56671398066650382e-9),
        (0.1, 5, 0.000143938965846733995),
    ],
)
def test_upper_gamma_tails(shape: float, x: float, upper: float) -> None:
    assert special.gammaincc(shape, x) == pytest.approx(upper, rel=EXACT)
    assert special.gammainc(shape, x) == pytest.approx(1 - upper, rel=EXACT, abs=1e-15)


@pytest.mark.usefixtures("in_c")
@pytest.mark.parametrize(
    ("shape", "x", "lower"),
    [
        (1431.5, 464.2578920891218, 1.62761077556242167e-282),
        (5000, 4500, 1.26977317052044212e-13),
        (0.5, 1e-200, 1.12837916709551256e-100),
        (250, 249, 0.483154019566775367),
        # SciPy 1.17 has 1.4e-8 here: 5 standard deviations below the mean it is of no use.
        (891872212228.9297, 891867783806.0961, 1.37139818134520779e-6),
    ],
)
def test_lower_gamma_tails(shape: float, x: float, lower: float) -> None:
    assert special.gammainc(shape, x) == pytest.approx(lower, rel=EXACT)
    assert special.gammaincc(shape, x) == pytest.approx(1 - lower, rel=EXACT)


@pytest.mark.usefixtures("in_c")
def test_binomial_tails() -> None:
    lower = tails.binomial_lower([12, 3], [7646, 20], [0.09312632696291032, 0.5])
    assert lower == pytest.approx([2.91682960252338349e-299, 0.00128841400146484375], rel=EXACT)
    # The chances of millions of trials turn on the last digit of 1 - p.
    upper = tails.binomial_upper(
        [4, 40, 30], [86715279, 1000, 1000000], [6.1950329375393e-08, 0.004, 1e-6]
    )
    exact = [0.622198923778249172, 1.48378759401773808e-27, 4.61603687070589146e-35]
    assert upper == pytest.approx(exact, rel=1e-12)


@pytest.mark.usefixtures("in_c")
def test_students_tails() -> None:
    lower = tails.student_lower([-2, -40, -1e4, -8, -0.01], [3, 7.5, 1, 200, 2.5])
    exact = [
        *(0.0696629842794215884, 2.55952838185489539e-10, 0.0000318309885122757724),
        *(4.93960045466531961e-14, 0.496381997178954129),
    ]
    assert lower == pytest.approx(exact, rel=EXACT)


def test_normal_tails_and_quantiles(kernel: str) -> None:
    two = [0.317310507862914103, 1.52397060483210521e-23, 1.14511424450491536e-299]
    assert tails.normal_two_tails([1, -10, 37]) == pytest.approx(two, rel=EXACT)
    quantiles = [
        *(-37.0470962993611992, -8.49379322410959807, -1.95996398454005421),
        -0.000250662830088007492,
    ]
    assert special.ndtri([1e-300, 1e-17, 0.025, 0.4999]) == pytest.approx(quantiles, rel=EXACT)
    assert special.ndtri([0, 0.5, 1]).tolist() == [-math.inf, 0, math.inf]
    assert np.isnan(special.ndtri([-0.1, 1.1, math.nan])).all()


def test_kolmogorovs_tail() -> None:
    upper = tails.kolmogorov_upper([0, 0.3, 0.99, 1.01, 5, 18])
    exact = [
        *(1, 0.999990694198665433, 0.280873839225548922, 0.259434169093597443),
        *(3.85749969592783557e-22, 7.55449994472424964e-282),
    ]
    assert upper == pytest.approx(exact, rel=EXACT)


def test_scipy_finds_the_same_on_wide_grids() -> None:
    rng = np.random.default_rng(1)
    n = 3000

    def same(found: np.ndarray, expected: np.ndarray, rel: float) -> None:
        np.testing.assert_allclose(found, expected, rtol=rel, atol=1e-300)

    df = rng.integers(1, 800, n).astype(float)
    x = df * np.exp(rng.uniform(-3, 3, n))
    same(tails.chi_square_upper(x, df), scipy.special.chdtrc(df, x), 5e-12)
    mean = 10.0 ** rng.uniform(-2, 4, n)
    k = rng.poisson(mean)
    same(tails.poisson_lower(k, mean), scipy.special.pdtr(k, mean), 1e-12)
    trials, p = rng.integers(1, 10_000, n), 10 ** rng.uniform(-4, -0.01, n)
    k = rng.binomial(trials, p)
    same(tails.binomial_lower(k, trials, p), scipy.stats.binom.cdf(k, trials, p), 1e-11)
    same(tails.binomial_upper(k, trials, p), scipy.stats.binom.sf(k, trials, p), 1e-11)
    df, t = 10 ** rng.uniform(-0.5, 8, n), rng.standard_cauchy(n)
    same(tails.student_lower(t, df), scipy.stats.t.cdf(t, df), 2e-12)
    p = 10 ** rng.uniform(-60, 0, n)
    df = 10 ** rng.uniform(0, 8, n)
    same(tails.student_quantile(p, df), scipy.stats.t.ppf(p, df), 1e-11)
    x = rng.uniform(0.1, 18, n)
    same(tails.kolmogorov_upper(x), scipy.special.kolmogorov(x), 1e-12)
    x = 10 ** rng.uniform(-3, 9, n)
    same(special.gammaln(x) + 1, scipy.special.gammaln(x) + 1, 1e-13)


def test_without_a_compiler_the_answers_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> list[np.ndarray]:
        return [
            tails.normal_two_tails([-1.5, 3]),
            tails.chi_square_upper([[3.0], [20.0]], [4, 9]),
            tails.poisson_lower(3, 5.5),
            tails.binomial_lower([0, 3, 9], 9, 0.25),
            tails.binomial_upper([0, 3, 9], 9, 0.75),
            tails.student_lower([-2, 0, 2], [1, 5, math.inf]),
            tails.student_quantile([0.001, 0.5, 0.975], [3, 4, math.inf]),
            special.gammainc(2.5, [0, 1.0]),
            special.gammaln([1.0, 7.5]),
            special.ndtri(np.empty((0, 2))),
        ]

    first = found()
    monkeypatch.setattr(special, "library", lambda: None)
    for one, other in zip(first, found(), strict=True):
        assert one.shape == other.shape
        assert one == pytest.approx(other, rel=EXACT, abs=1e-16)


@given(st.floats(0.01, 1e7), st.floats(-40, 40), st.floats(0, 1e-2))
def test_gamma_tails_add_up_and_do_not_rise(shape: float, deviate: float, step: float) -> None:
    x = max(shape + deviate * math.sqrt(shape), 0.0)
    upper, further = special.gammaincc(shape, [x, x * (1 + step)])
    lower = special.gammainc(shape, x)
    assert 0 <= further <= upper * (1 + EXACT) <= 1 + EXACT
    assert lower + upper == pytest.approx(1, abs=1e-15)


@given(st.floats(1e-30, 0.999), st.floats(1, 1e6))
def test_students_quantile_undoes_its_tail(p: float, df: float) -> None:
    quantile = tails.student_quantile(p, df)
    assert tails.student_lower(quantile, df) == pytest.approx(p, rel=1e-11)


def test_students_tail_and_quantile_far_out() -> None:
    """Where t^2 is more than a float64 holds; Cauchy's and two degrees of freedom by hand."""
    at = [-1e200, -1e300, -1e120, -1e300]
    exact = [1 / (math.pi * 1e200), 1 / (math.pi * 1e300), 0.5e-240, 0.0]
    assert tails.student_lower(at, [1, 1, 2, 4]) == pytest.approx(exact, rel=EXACT)
    found = tails.student_quantile([1e-300, 5e-201, 1e-240, 1e-200], [1, 1, 2, 0.5])
    exact = [-1e300 / math.pi, -2e200 / math.pi, -1e120 / math.sqrt(2), -math.inf]
    assert found == pytest.approx(exact, rel=EXACT)
    p, df = (x.ravel() for x in np.meshgrid([1e-307, 1e-300, 1e-200, 0.3], [1.5, 3, 1e3, 1e300]))
    assert tails.student_lower(tails.student_quantile(p, df), df) == pytest.approx(p, rel=1e-12)
    assert tails.student_quantile(1e-300, 1e300) == pytest.approx(scipy.stats.norm.ppf(1e-300))


def test_students_quantile_at_the_ends() -> None:
    found = tails.student_quantile([0, 0.5, 1], [3, 0.7, math.inf])
    assert found.tolist() == [-math.inf, 0, math.inf]
    assert np.isnan(tails.student_quantile([math.nan, 0.1, -0.1], [3, math.nan, 3])).all()


@given(st.integers(1, 400), st.floats(0.001, 0.999), st.data())
def test_binomial_tails_are_sums_of_chances(n: int, p: float, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    lower, upper = tails.binomial_lower(k, n, p), tails.binomial_upper(k, n, p)
    assert lower + upper == pytest.approx(1, abs=1e-14)
    assert upper == pytest.approx(tails.binomial_lower(n - k - 1, n, 1 - p), rel=1e-9) or k == n


def test_temmes_coefficients_are_those_of_the_exact_recursion() -> None:
    orders, powers = 6, (16, 14, 12, 10, 8, 6)
    n = powers[0] + orders
    # mu(eta), where eta^2 / 2 = mu - log(1 + mu), so that mu mu' = eta (1 + mu)
    mu = [Fraction(0), Fraction(1)]
    for i in range(2, n + 2):
        mu.append((mu[i - 1] - sum(j * mu[i + 1 - j] * mu[j] for j in range(2, i))) / (i + 1))
    inverse = [Fraction(1)]  # eta / mu
    for i in range(1, n + 1):
        known = (mu[k + 1] * inverse[i - k] for k in range(1, i + 1))
        inverse.append(-sum(known, Fraction(0)))
    row = inverse[1:]  # c_0 = 1 / mu - 1 / eta
    source = Path(special.__file__).with_name("special.c").read_text(encoding="utf-8")
    table = source.split("TEMME[ORDERS][POWERS] = {")[1].split("};")[0]
    written = [
        [float(number) for number in part.split("}")[0].split(",")] for part in table.split("{")[1:]
    ]
    for k in range(orders):
        assert written[k] == [float(c) for c in row[: powers[k]]]
        slopes = [(i + 1) * c for i, c in enumerate(row[1:])]
        # c_k = (c_(k-1)' - c_(k-1)'(0) eta / mu) / eta: no pole at 0
        row = [slopes[i + 1] - slopes[0] * inverse[i + 1] for i in range(len(slopes) - 1)]
