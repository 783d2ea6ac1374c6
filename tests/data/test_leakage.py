from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from gyroscope.data.distinct import distinct_values
from gyroscope.data.infer_types import infer_type
from gyroscope.data.leakage import SAMPLE, Signs, draw_sample, leakage_signs

N = 4000


@pytest.fixture
def y() -> Any:
    return (np.random.default_rng(0).random(N) < 0.3).astype(float)


def signs(values: Any, y: Any) -> Signs:
    typed = infer_type(distinct_values("x", pa.array(values, from_pandas=True)), untyped=False)
    return leakage_signs(typed, draw_sample(y))


def test_the_auc_of_a_number_is_that_of_the_number_itself_up_or_down(y: Any) -> None:
    x = np.random.default_rng(1).normal(size=N) + 1.5 * y
    expected = roc_auc_score(y, x)
    assert signs(x, y).auc == pytest.approx(expected, abs=0.02)
    assert signs(-x, y).auc == pytest.approx(signs(x, y).auc)
    assert signs(x, y).auc >= expected - 1e-9


def test_a_number_that_tells_by_its_distance_is_found_too(y: Any) -> None:
    x = np.random.default_rng(1).normal(size=N)
    x = np.where(y == 1, np.sign(x) * 3 + x, x / 3)
    assert abs(roc_auc_score(y, x) - 0.5) < 0.05
    assert signs(x, y).auc > 0.99


def test_the_auc_of_a_category_is_learnt_on_other_rows_than_it_is_judged_on(y: Any) -> None:
    noise = [f"value {k}" for k in np.random.default_rng(1).integers(0, N // 3, N)]
    assert signs(noise, y).auc < 0.56
    assert signs(np.where(y == 1, "lost", "kept"), y).auc == 1.0


def test_no_signs_in_noise(y: Any) -> None:
    random = np.random.default_rng(2)
    for x in (random.normal(size=N), random.integers(0, 5, N), random.choice(["a", "b"], N)):
        found = signs(x, y)
        assert found.auc < 0.56
        assert (found.one_outcome, found.missing_together) == ((), 0.0)


def test_too_few_rows_of_a_class_show_nothing() -> None:
    y = np.array([1.0] * 9 + [0.0] * 500)
    assert signs(y, y).auc == 0.5


def test_values_that_always_bring_one_class_are_named(y: Any) -> None:
    x = np.random.default_rng(1).choice(["a", "b", "c"], N)
    y = np.where(x == "c", 1.0, y)
    (one,) = signs(x, y).one_outcome
    assert (one.values, one.positive, one.exceptions) == ("is 'c'", True, 0)
    assert one.rows == (x == "c").sum()


def test_numbers_that_always_bring_one_class_are_named_as_ranges(y: Any) -> None:
    x = np.random.default_rng(1).integers(0, 20, N)
    found = signs(x, np.where(x >= 17, 1.0, np.where(x <= 3, 0.0, y))).one_outcome
    assert {(one.values, one.positive) for one in found} == {
        ("is at least 17", True),
        ("is at most 3", False),
    }
    (middle,) = signs(x, np.where((x >= 5) & (x < 8), 1.0, y)).one_outcome
    assert middle.values == "is 5 to 7"


def test_decimal_numbers_are_named_by_the_edge_of_the_run(y: Any) -> None:
    x = np.round(np.random.default_rng(1).random(N), 3)
    found = signs(x, np.where(x > 0.8, 1.0, y)).one_outcome
    assert [one.exact for one in found] == [False]
    low = float(found[0].values.removeprefix("is above "))
    assert low == pytest.approx(0.8, abs=0.03)


def test_a_value_that_brings_the_common_class_as_often_as_any_is_no_sign() -> None:
    random = np.random.default_rng(3)
    y = (random.random(N) < 0.005).astype(float)
    assert signs(random.choice(["a", "b", "c"], N), y).one_outcome == ()


def test_being_missing_may_decide_the_outcome(y: Any) -> None:
    x = np.where(y == 1, np.nan, np.random.default_rng(1).normal(size=N))
    found = signs(x, y)
    assert found.auc == 1.0
    assert {(one.values, one.positive) for one in found.one_outcome} == {
        ("is missing", True),
        ("has a value", False),
    }


def test_a_column_missing_where_the_target_is_missing_was_recorded_with_it(y: Any) -> None:
    x = np.random.default_rng(1).normal(size=N)
    y, x = y.copy(), x.copy()
    y[:100] = np.nan
    x[5:100] = np.nan
    assert signs(x, y).missing_together == pytest.approx(0.95)
    x[100:200] = np.nan
    assert signs(x, y).missing_together == 0.0


def test_infinite_numbers_count_as_missing(y: Any) -> None:
    x = np.random.default_rng(1).normal(size=N)
    assert signs(np.where(x > 1, np.inf, x), y) == signs(np.where(x > 1, np.nan, x), y)


def test_a_sample_is_seeded_and_bounded() -> None:
    y = np.where(np.arange(SAMPLE + 500) % 7 == 0, 1.0, 0.0)
    y[:100] = np.nan
    first, second = draw_sample(y), draw_sample(y)
    assert first.rows.size == SAMPLE
    assert first.rows.min() >= 100
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.half, second.half)
    assert first.no_target.sum() == 100
