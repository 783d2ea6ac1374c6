from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit as scipy_expit

from gyroscope.bundle.links import Link, expit

PLATT = Link(kind="logistic", scale=2.0, shift=-0.5)
IDENTITY = Link(kind="identity")
ISOTONIC = Link(kind="isotonic", margins=(-1.0, 0.0, 2.0), probabilities=(0.1, 0.1, 0.7))
LINKS = [PLATT, IDENTITY, ISOTONIC]
margins = st.lists(st.floats(-1000, 1000), min_size=1, max_size=40)


def probability(link: Link, raw: list[float]) -> Any:
    return link.probability(link.margin(np.array(raw)))


def test_platt_scaling_is_the_logistic_function_of_a_line() -> None:
    assert probability(PLATT, [0.25, 1.0]) == pytest.approx([0.5, 1 / (1 + math.exp(-1.5))])
    assert PLATT.unit == "log-odds"


def test_a_probability_is_kept_within_zero_and_one() -> None:
    assert probability(IDENTITY, [-0.1, 0.3, 1 + 1e-12]).tolist() == [0, 0.3, 1]
    assert IDENTITY.unit == ISOTONIC.unit == "probability"


def test_an_isotonic_link_interpolates_its_table_and_ends_flat() -> None:
    assert probability(ISOTONIC, [-5, -0.5, 0, 1, 2, 9]) == pytest.approx(
        [0.1, 0.1, 0.1, 0.4, 0.7, 0.7]
    )


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.kind)
def test_a_higher_margin_never_has_a_lower_probability(link: Link) -> None:
    p = probability(link, np.linspace(-40, 40, 1001).tolist())
    assert (np.diff(p) >= 0).all()
    assert ((p >= 0) & (p <= 1)).all()


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.kind)
@given(raw=margins, data=st.data())
def test_a_probability_has_the_same_bits_in_any_company(
    link: Link, raw: list[float], data: st.DataObject
) -> None:
    order = data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1))
    together = probability(link, raw)
    assert probability(link, [raw[i] for i in order]).tobytes() == together[order].tobytes()
    strided = np.repeat(np.array(raw), 3)[::3]
    assert link.probability(link.margin(strided)).tobytes() == together.tobytes()


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.kind)
def test_a_link_is_built_again_from_its_arrays(link: Link) -> None:
    assert Link.from_arrays(link.kind, link.arrays()) == link


@given(st.lists(st.floats(-700, 700), min_size=1))
def test_the_logistic_function_is_that_of_scipy(raw: list[float]) -> None:
    np.testing.assert_allclose(expit(np.array(raw)), scipy_expit(raw), rtol=1e-14)


def test_the_logistic_function_neither_overflows_nor_leaves_its_range() -> None:
    found = expit(np.array([-1e308, -800.0, 0.0, 800.0, 1e308]))
    assert found.tolist() == [0, 0, 0.5, 1, 1]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"kind": "logistic", "scale": math.nan}, "must be finite"),
    ({"kind": "logistic", "shift": math.inf}, "must be finite"),
    ({"kind": "isotonic"}, "must not fall"),
    ({"kind": "isotonic", "margins": (0.0,), "probabilities": (0.1, 0.2)}, "different length"),
    ({"kind": "isotonic", "margins": (1.0, 0.0), "probabilities": (0.1, 0.2)}, "must not fall"),
    ({"kind": "isotonic", "margins": (0.0, 1.0), "probabilities": (0.2, 0.1)}, "must not fall"),
    ({"kind": "isotonic", "margins": (0.0, 1.0), "probabilities": (0.2, 1.1)}, "must not fall"),
    ({"kind": "isotonic", "margins": (0.0, math.nan), "probabilities": (0.2, 0.3)}, "not fall"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_numbers_that_make_no_link_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Link(**fields)
