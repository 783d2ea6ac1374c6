from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from gyroscope.data.contract import Task
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
    assert [r.kind for r in made.remarks] == ["positive", "spelling", "missing-target"]
    assert made.remarks[2].message.startswith("3 rows (43 %) have no value of the target")


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
        (["yes", "yes"], "target 'y' is 'yes' in all rows; a model needs rows of at least two"),
        ([f"value {k}" for k in range(201)], "has 201 different values, at most 200 .* Derive a"),
        ([[1], [2]], "holds values of type list"),
        ([1.5, 2.5, float("inf")], "holds infinite numbers; leave such rows out"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused_with_what_to_do(
    values: list[Any], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        target(values)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", "a"], "binary"),
        ([0.5, 1.5, 0.5], "binary"),
        (["a", "b", "c"], "multiclass"),
        ([3, 1, 2, 1], "multiclass"),
        (list(range(20)), "multiclass"),
        (list(range(21)), "regression"),
        ([0.5, 1.5, 2.5], "regression"),
        (["1.5", "2", "-3"], "regression"),
    ],
)
def test_the_task_is_told_by_the_values(values: list[Any], task: str) -> None:
    assert target(values).task == task


def test_classes_stand_in_their_natural_order_and_are_numbered() -> None:
    made = target([10, 9, None, 2, 10])
    assert made.classes == ("2", "9", "10")
    np.testing.assert_array_equal(made.y, [2, 1, np.nan, 0, 2])
    assert target(["Elm", "ash", "oak", "elm", "elm"]).classes == ("ash", "elm", "oak")


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["mid", "low", "inf"], ("inf", "low", "mid")),
        (["inf", "infinity", "-inf"], ("-inf", "inf", "infinity")),
        (["inf", "3", "1", "20"], ("1", "3", "20", "inf")),
        (["b", "1e5", "a", "7"], ("7", "1e5", "a", "b")),
        (["b", "-nan", "3", "a"], ("3", "-nan", "a", "b")),
        (["1e400", "3", "1"], ("1", "3", "1e400")),
    ],
)
def test_a_class_may_be_called_like_a_number_that_is_none(
    names: list[str], classes: tuple[str, ...]
) -> None:
    values = names * 2 + ["NaN"]  # which is missing as ever
    made = target(values)
    assert (made.task, made.classes) == ("multiclass", classes)
    assert np.isnan(made.y).tolist() == [False] * (len(values) - 1) + [True]
    assert target(values[::-1]).classes == classes
    assert made.remarks[1].advice.startswith("If 'NaN' is a class, take it out of `missing`")


@pytest.mark.parametrize(
    "values", [["1e5", "100000", "b", "c"], ["Yes", "yes", "no"], ["1", "1.0", "b", "c"]]
)
def test_two_spellings_that_are_taken_for_one_class_are_told(values: list[str]) -> None:
    (told,) = [remark for remark in target(values).remarks if remark.kind == "spelling"]
    assert told.level == "warning"
    assert sorted(values[:2]) == sorted(re.findall("'(.*?)'", told.message))
    assert "are taken for one class" in told.message
    other_names = ["one", *values[1:]]
    assert not [remark for remark in target(other_names).remarks if remark.kind == "spelling"]


def test_amounts_with_an_infinite_one_are_no_classes() -> None:
    for values in (["1.5", "2", "inf"], [*map(str, range(30)), "-Infinity"], [1.0, 2.0, np.inf]):
        with pytest.raises(ContractError, match="holds infinite numbers; leave such rows out"):
            target(values)
    with pytest.raises(ContractError, match="holds infinite numbers"):
        infer_target(distinct_values("y", pa.array(["1", "2", "inf"])), task="regression")


def test_a_number_is_itself_and_its_range_is_kept() -> None:
    made = target(["1.5", "", "2", "-3"])
    np.testing.assert_array_equal(made.y, [1.5, np.nan, 2, -3])
    assert (made.column.type, made.column.seen) == ("number", (-3, 2))
    assert target(list(range(30))).column.type == "integer"


def test_the_task_can_be_said() -> None:
    made = infer_target(distinct_values("y", pa.array([1, 2, 3])), (), "regression")
    assert made.task == "regression"
    made = infer_target(distinct_values("y", pa.array([0.5, 1.5, 2.5])), (), "multiclass")
    assert made.classes == ("0.5", "1.5", "2.5")
    assert infer_target(distinct_values("y", pa.array([0, 1, 1])), (), "regression").positive == ()


@pytest.mark.parametrize(
    ("values", "positive", "task", "message"),
    [
        (["a", "b", "b", "c"], (), "binary", "has 3 classes: 'b' 50 %, 'a' 25 %.*--positive c"),
        (["a", "b", "c"], (), "regression", "holds texts such as 'a'; regression needs numbers"),
        (["a", "b", "b"], (), "multiclass", "has 2 classes; leave --task out: it is binary"),
        (["a", "b", "c"], ("a",), "multiclass", "--positive is for a binary target"),
    ],
)
def test_a_task_that_does_not_suit_the_values_is_refused(
    values: list[Any], positive: tuple[str, ...], task: Task, message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        infer_target(distinct_values("y", pa.array(values)), positive, task)


def test_columns_are_held_against_one_side_of_the_target() -> None:
    side = target(["a", "b", "b", "c", None]).against_rest()
    np.testing.assert_array_equal(side, [1, 0, 0, 1, np.nan])
    side = target([0.5, 1.5, 2.5, 9.5, None]).against_rest()
    np.testing.assert_array_equal(side, [0, 0, 1, 1, np.nan])


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
