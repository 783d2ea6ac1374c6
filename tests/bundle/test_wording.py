"""Predictions in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gyroscope.bundle.wording import Wording
from gyroscope.data.cells import ProfileSpec
from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.encoder import Encoder
from gyroscope.data.profile import Profile, profile
from gyroscope.data.profile_spec import profile_spec

CONTRACT = Contract(
    columns=(
        Column(
            name="number_customer_service_calls",
            type=ColumnType.INTEGER,
            description="Number of service calls; of the last quarter",
        ),
        Column(name="total_day_minutes", type=ColumnType.NUMBER, unit="minutes", nullable=True),
        Column(name="MonthlyCharges", type=ColumnType.NUMBER, unit="EUR"),
        Column(name="plan", type=ColumnType.CATEGORY, categories=("A", "B"), unknown="other"),
        Column(name="voice_mail", type=ColumnType.BOOLEAN, true=("yes",), false=("no",)),
        Column(name="joined", type=ColumnType.DATETIME),
        Column(name="churn", type=ColumnType.CATEGORY, role=Role.TARGET),
    ),
    positive=("yes",),
    negative=("no",),
)
ROW: dict[str, Any] = {
    "number_customer_service_calls": 5,
    "total_day_minutes": 265.123456,
    "MonthlyCharges": 1250.5,
    "plan": "B",
    "voice_mail": True,
    "joined": "2024-05-01",
}
CALLS, MINUTES, CHARGES, PLAN, MAIL, JOINED = range(6)


def training_rows() -> np.ndarray:
    random = np.random.default_rng(0)
    n = 3001
    day = 86400.0
    return np.column_stack(
        [
            random.poisson(1.2, n),
            np.linspace(0, 359.6, n),
            np.full(n, 70.25),
            np.repeat([0, 1], [2001, 1000]),
            np.repeat([0.0, 1.0], [2001, 1000]),
            np.full(n, 19000 * day),
        ]
    )


def columns() -> Profile:
    X = training_rows()
    return profile(X, profile_spec(X, CONTRACT.features))


WORDING = Wording(CONTRACT, columns())


def sentence(wording: Wording = WORDING, p: float = 0.62, **given: Any) -> str:
    """The sentence on the row, with contributions by position and changed fields by name."""
    contributions = np.zeros(6)
    for j, value in given.pop("contributions").items():
        contributions[j] = value
    row = {**ROW, **given}
    [x] = Encoder(CONTRACT).encode_rows([row])
    return wording.sentence(row, x, contributions, base=0.141, score=p)


def test_the_values_that_matter_stand_beside_the_usual_ones() -> None:
    assert sentence(contributions={CALLS: 2.0, MINUTES: 0.5, MAIL: -0.6}) == (
        "Probability of churn yes: 62 %, against 14 % before anything is known of the row: raised "
        "mostly by 5 service calls (usual: 1) and 265.123 total day minutes (usual: 179.7); "
        "lowered mostly by voice mail yes (usual: no)."
    )


def test_what_prevailed_comes_first() -> None:
    told = sentence(p=0.004, contributions={CALLS: 0.5, MAIL: -3.0})
    assert told.startswith("Probability of churn yes: 0.4 %, against 14 %")
    assert told.index("lowered") < told.index("raised")


@pytest.mark.parametrize(
    ("j", "given", "words"),
    [
        (CHARGES, {}, "by monthly charges of 1,250.5 EUR (usual: 70.25)."),
        (CHARGES, {"MonthlyCharges": 70.25}, "by monthly charges of 70.25 EUR (as usual)."),
        (PLAN, {}, "by plan B (usual: A)."),
        (PLAN, {"plan": "Z"}, "by plan Z (usual: A)."),
        (MAIL, {"voice_mail": "no"}, "by voice mail no (as usual)."),
        (MINUTES, {"total_day_minutes": None}, "by total day minutes missing (usual: 179.7)."),
        (JOINED, {}, "by joined 2024-05-01 (usual: 2022-01-08)."),
        (CALLS, {"number_customer_service_calls": 1}, "by 1 service calls (as usual)."),
    ],
)
def test_every_type_of_column_is_spoken_of(j: int, given: dict[str, Any], words: str) -> None:
    assert sentence(contributions={j: 1.0}, **given).endswith(words)


def test_features_that_hardly_matter_are_not_named() -> None:
    told = sentence(contributions={CALLS: 1.0, MINUTES: 0.05, PLAN: -0.05})
    assert "minutes" not in told
    assert "plan" not in told


def test_many_small_reasons_are_told_as_some_of_many() -> None:
    even = dict.fromkeys(range(6), 1.0)
    assert "raised mostly by" in sentence(contributions=even)
    crowd = Wording(many_columns(), NOTHING)
    x = np.ones(20)
    told = crowd.sentence(dict.fromkeys(map(str, range(20)), 1.0), x, x, base=0.1, score=0.5)
    assert "raised, among others, by x0 of 1." in told


def many_columns() -> Contract:
    features = tuple(Column(name=f"x{j}", type=ColumnType.NUMBER) for j in range(20))
    target = Column(name="y", type=ColumnType.BOOLEAN, role=Role.TARGET)
    return Contract(columns=(*features, target), positive=("true",), negative=("false",))


NOTHING = Profile(spec=ProfileSpec(columns=()), n=0, columns=())


def test_without_contributions_nothing_makes_a_difference() -> None:
    assert sentence(contributions={}).endswith(": nothing in it makes a difference.")


def test_without_a_reference_nothing_is_called_usual() -> None:
    told = sentence(Wording(CONTRACT, NOTHING), contributions={CALLS: 1.0, PLAN: 1.0})
    assert told.endswith("raised mostly by 5 service calls and plan B.")


def test_a_column_that_was_never_there_has_no_usual_value() -> None:
    X = training_rows()
    X[:, [MINUTES, PLAN]] = np.nan
    wording = Wording(CONTRACT, profile(X, profile_spec(X, CONTRACT.features)))
    told = sentence(wording, contributions={MINUTES: 1.0, PLAN: 1.0})
    assert told.endswith("raised mostly by 265.123 total day minutes and plan B.")


@pytest.mark.parametrize(
    ("p", "shown"), [(0.5, "50 %"), (0.0961, "9.6 %"), (0.9996, "99.960 %"), (1.0, "100.000 %")]
)
def test_a_probability_has_more_digits_near_its_ends(p: float, shown: str) -> None:
    assert f"yes: {shown}, against" in sentence(p=p, contributions={})
