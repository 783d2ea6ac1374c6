"""Codes for texts, in C and by Arrow, against a dictionary."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gyroscope.kernels import compiled, encode_texts, texts

# Of the lengths about which texts are compared in words, and beyond.
text = st.text("ab\0é", max_size=3) | st.builds(
    lambda letter, n, end: letter * n + end,
    st.sampled_from("ab"),
    st.integers(0, 40),
    st.sampled_from(["", "x", "y"]),
)


@pytest.fixture(params=["C", "Arrow"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "Arrow":
        monkeypatch.setattr(texts, "library", lambda: None)
    elif not compiled():
        pytest.skip("no compiler was there at installation")


def check(*stretches: pa.Array) -> None:
    known: dict[str, int] = {}
    expected = [
        -1 if x is None else known.setdefault(x, len(known))
        for s in stretches
        for x in s.to_pylist()
    ]
    codes, distinct = encode_texts(stretches)
    assert codes.tolist() == expected
    assert distinct.to_pylist() == list(known)
    assert distinct.type == stretches[0].type


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    st.lists(st.none() | text, max_size=40),
    st.integers(0, 9),
    st.sampled_from([pa.string(), pa.large_string()]),
)
def test_codes_are_in_order_of_first_appearance(
    held: list[str | None], first: int, kind: pa.DataType
) -> None:
    array = pa.array(held, kind)
    check(array.slice(first))
    check(array.slice(first), array.slice(0, 0), array.slice(0, first), array)


def test_many_distinct_texts_have_codes_of_their_own() -> None:
    numbers = np.random.default_rng(1).integers(0, 3000, 5000)
    array = pa.array([f"a name that is common to all of them {number}" for number in numbers])
    check(array.slice(0, 2000), array.slice(2000))


def test_nothing_and_nothing_but_missing_texts_have_no_codes() -> None:
    check(pa.array([], pa.string()))
    check(pa.nulls(9, pa.large_string()))
