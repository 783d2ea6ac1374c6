from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gyroscope.data.distinct import distinct_values
from gyroscope.data.infer_target import Target, infer_target
from gyroscope.errors import ContractError


def target(values: list[Any], *positive: str) -> Target:
    return infer_target(distinct_values("y", pa.array(values)), positive)


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        (["no", "yes", "yes", "yes"], "yes"),
        ([0, 1, 1, 1], "1"),
        ([-1, 1, 1, 1], "1"),
        ([0.0, 1.0, 1.0], "1"),
        ([True, True, False], "true"),
        (["TRUE", "TRUE", "FALSE"], "TRUE"),
        (["Churned", "Stayed", "Churned"], "Churned"),
        (["UP", "UP", "DOWN"], "UP"),
        ([1, 1, 2], "2"),
        (["good", "bad", "good"], "bad"),
        (["success", "failure", "success"], "failure"),
    ],
)
def test_the_positive_class_is_guessed_by_word_or_else_the_rarer(
    values: list[Any], positive: str
) -> None:
    assert target(values).positive == (positive,)


def test_labels_follow_the_classes_and_missing_is_nan() -> None:
    made = target(["yes", "No", " yes", "", None, "NA", "NO"])
    np.testing.assert_array_equal(made.y, [1, 0, 1, np.nan, np.nan, np.nan, 0])
    assert (made.positive, made.negative) == (("yes",), ("NO",))
    assert (made.column.missing, made.column.nullable) == (("NA",), True)
    assert [r.kind for r in made.remarks] == ["positive", "missing-target"]
    assert made.remarks[1].message.startswith("3 rows (43 %) have no value of the target")


def test_given_values_are_positive_and_all_others_negative() -> None:
    made = target(["a", "b", "b", "c", "c", "c", "d"], "a", "D")
    assert (made.positive, made.negative) == (("a", "d"), ("c", "b"))
    assert made.remarks == ()


def test_a_class_called_none_is_a_class_if_nothing_else_is_left_or_it_was_named() -> None:
    assert target(["None", "fraud", "None"]).positive == ("fraud",)
    assert target(["None", "a", "b"], "None").negative == ("a", "b")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["", None], "target 'y' is empty in all 2 rows"),
        (["yes", "yes"], "target 'y' is 'yes' in all rows; a model needs rows of both classes"),
        (["a", "b", "b", "c"], "has 3 classes: 'b' 50 %, 'a' 25 %, 'c' 25 %.*--positive c"),
        ([1, 2, 3], "has 3 classes: '1' 33 %"),
        (list(range(21)), "holds 21 different numbers from 0 to 20: .*for example y > 10"),
        ([0.5, 1.5, 2.5], "regression.* is not supported yet. Derive a yes/no column"),
        ([f"value {k}" for k in range(201)], "has 201 different values. Derive a yes/no column"),
        ([[1], [2]], "holds values of type list"),
    ],
)
def test_a_target_without_two_classes_is_refused_with_what_to_do(
    values: list[Any], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        target(values)


@pytest.mark.parametrize(
    ("positive", "message"),
    [
        (("d",), "target 'y' has no value 'd'; its values: 'b', 'a'"),
        (("a", "b"), "nothing is left as negative"),
    ],
)
def test_positive_values_must_be_some_of_the_targets(
    positive: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        target(["a", "b", "b"], *positive)
