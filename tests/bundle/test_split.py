"""Shares of canaries: right, stable, and never of the same entities."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise

import pytest
from scipy.stats import binom

from gyroscope.bundle.split import Split
from gyroscope.errors import UsageError

IDS = [f"customer-{i}" for i in range(100_000)]


def chosen(percent: float, version: int = 2, model: str = "churn") -> set[str]:
    serves = Split(model, version, percent).canary_serves(IDS)
    return {entity for entity, canarys in zip(IDS, serves, strict=True) if canarys}


@pytest.mark.parametrize("percent", [0.1, 1, 10, 33.3, 50, 90])
def test_a_canary_gets_its_share_within_binomial_error(percent: float) -> None:
    low, high = binom.interval(1 - 1e-6, len(IDS), percent / 100)
    assert low <= len(chosen(percent)) <= high


def test_nothing_and_everything_are_shares_too() -> None:
    assert chosen(0) == set()
    assert chosen(100) == set(IDS)


def test_who_has_the_canary_keeps_it_while_the_share_grows() -> None:
    shares = [chosen(percent) for percent in (0, 1, 5, 10, 50, 99, 100)]
    assert all(smaller <= larger for smaller, larger in pairwise(shares))


@pytest.mark.parametrize("other", [{"version": 3}, {"model": "fraud"}])
def test_the_entities_of_two_canaries_have_nothing_to_do_with_each_other(other: object) -> None:
    both = len(chosen(10) & chosen(10, **other))  # type: ignore[arg-type]
    low, high = binom.interval(1 - 1e-6, len(IDS), 0.01)
    assert low <= both <= high


def test_another_process_splits_alike() -> None:
    code = (
        "from gyroscope.bundle.split import Split;"
        "print(Split('churn', 2, 30).canary_serves(f'customer-{i}' for i in range(50)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == str(Split("churn", 2, 30).canary_serves(IDS[:50]))


@pytest.mark.parametrize("percent", [-0.1, 100.1, math.nan, math.inf])
def test_a_share_outside_of_all_is_refused(percent: float) -> None:
    with pytest.raises(UsageError, match="must lie in 0 to 100 percent, got"):
        Split("churn", 2, percent)
