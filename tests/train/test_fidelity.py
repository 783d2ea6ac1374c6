from __future__ import annotations

import msgspec
import numpy as np
import pytest

from gyroscope.bundle.additive import AdditiveScorer
from gyroscope.bundle.base import Contributions, Matrix
from gyroscope.bundle.trees import TreeScorer
from gyroscope.errors import BundleError
from gyroscope.testing.families import rows, sample
from gyroscope.train.families.base import Fitted, family
from gyroscope.train.fidelity import check_fidelity

X = rows(1, 200)[0]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return family("lightgbm").fit(sample(), seed=0)


def tampered(fitted: Fitted, name: str, change: float) -> Fitted:
    """The same with one array of the scorer changed a little."""
    arrays = fitted.scorer.arrays()
    arrays[name] = arrays[name].astype(np.float64) + change
    return msgspec.structs.replace(fitted, scorer=TreeScorer.from_arrays(arrays))


def test_a_faithful_scorer_passes_with_the_largest_difference(fitted: Fitted) -> None:
    assert 0 <= check_fidelity("lightgbm", fitted, X) < 1e-12


def test_leaves_that_were_changed_are_found(fitted: Fitted) -> None:
    with pytest.raises(BundleError, match="lightgbm: probabilities differ from the library's by"):
        check_fidelity("lightgbm", tampered(fitted, "value", 1e-3), X)


def test_covers_that_were_changed_are_found_in_the_contributions(fitted: Fitted) -> None:
    message = "lightgbm: contributions differ from the library's by .*; take it out of the setting"
    with pytest.raises(BundleError, match=message):
        check_fidelity("lightgbm", tampered(fitted, "cover", 50.0), X)


def test_a_scorer_that_answers_nan_is_found(fitted: Fitted) -> None:
    broken = msgspec.structs.replace(
        fitted, answers=lambda X: np.full(len(X), np.nan), contributions=None
    )
    with pytest.raises(BundleError, match="probabilities differ from the library's by nan"):
        check_fidelity("mine", broken, X)


class HalfExplained(AdditiveScorer):
    """Explains half of its margin."""

    def contributions(self, X: Matrix) -> Contributions:
        found = super().contributions(X)
        return Contributions(values=found.values / 2, base=found.base)


def test_contributions_that_do_not_add_up_are_found() -> None:
    linear = family("logistic_regression").fit(sample(), seed=0)
    scorer = HalfExplained.from_arrays(linear.scorer.arrays())
    with pytest.raises(BundleError, match="mine: contributions do not add up to the margin"):
        check_fidelity("mine", msgspec.structs.replace(linear, scorer=scorer), X)


def test_a_library_that_adds_up_in_float32_is_allowed_its_own_error() -> None:
    linear = family("logistic_regression").fit(sample(), seed=0)
    off = msgspec.structs.replace(linear, answers=lambda X: linear.answers(X) + 5e-6)
    with pytest.raises(BundleError, match="probabilities differ"):
        check_fidelity("mine", off, X)
    assert check_fidelity("mine", msgspec.structs.replace(off, tolerance=1e-5), X) > 1e-6
