"""Records as JSON texts."""

from __future__ import annotations

import json
import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.decisions import Care, Detector
from gyroscope.findings import Finding, Interval, Kind, Verdict
from gyroscope.store.base import Job
from gyroscope.store.bodies import decoded, encoded
from gyroscope.testing.store import NOON

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
numbers = st.floats(allow_nan=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(value=numbers | st.none(), low=numbers, high=numbers, subject=texts, detail=texts)
def test_a_finding_comes_back_as_it_was(
    value: float | None, low: float, high: float, subject: str, detail: str
) -> None:
    finding = Finding(
        kind=Kind.TRIAL,
        check="e_value",
        subject=subject,
        verdict=Verdict.OK,
        detail=detail,
        value=value,
        interval=Interval(low, high),
    )
    assert decoded(encoded(finding), Finding) == finding


@given(log_value=numbers)
def test_a_state_is_standard_json_whatever_its_numbers(log_value: float) -> None:
    care = Care(model="churn", detector=Detector(log_value=log_value))
    body = encoded(care)
    assert decoded(body, Care) == care
    json.loads(body, parse_constant=lambda name: 1 / 0)


def typed(value: object) -> object:
    """The value with its types spelled out: True is not 1, "1" is not 1."""
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type(value), value


@given(arguments=st.dictionaries(texts, values, max_size=4))
def test_arguments_of_a_job_come_back_with_their_types(arguments: dict[str, object]) -> None:
    job = Job(id="j-1", model="churn", kind="retrain", arguments=arguments, created=NOON)
    assert typed(decoded(encoded(job), Job).arguments) == typed(arguments)


def test_equal_records_read_equal_in_whatever_order_their_mappings_were_filled() -> None:
    job = Job(id="j-1", model="churn", kind="retrain", arguments={"a": 1, "b": 2}, created=NOON)
    other = msgspec.structs.replace(job, arguments={"b": 2, "a": 1})
    assert encoded(job) == encoded(other)


def test_a_float_that_is_not_a_number_comes_back() -> None:
    detector = Detector(log_value=float("nan"))
    assert math.isnan(decoded(encoded(detector), Detector).log_value)
