from __future__ import annotations

import numpy as np
import pytest

from gyroscope.findings import Verdict, Window
from gyroscope.monitor.rows import duplicate_rows_finding, row_count_finding

WEEKS = [1000, 1020, 980, 1010, 990, 60, 40] * 3  # quiet week-ends


@pytest.mark.parametrize(
    ("reference", "share", "n", "verdict"),
    [
        (0.01, 0.9, 500, Verdict.WARNING),
        (0.60, 0.9, 500, Verdict.OK),  # few distinct rows by nature
        (0.01, 0.3, 500, Verdict.OK),
        (0.01, 0.9, 50, Verdict.NOT_ENOUGH_DATA),
    ],
)
def test_far_more_repeated_rows_than_in_the_reference_are_a_warning(
    reference: float, share: float, n: int, verdict: Verdict, day: Window
) -> None:
    assert duplicate_rows_finding(reference, share, n, day, min_rows=100).verdict is verdict


def test_the_sentence_about_repeated_rows_has_both_shares(day: Window) -> None:
    finding = duplicate_rows_finding(0.013, 0.9, 500, day, min_rows=100)
    assert finding.detail == (
        "90 % of 500 rows repeat another row exactly; in the reference 1.3 % do."
    )


def test_a_stream_that_dries_up_is_an_alarm(day: Window) -> None:
    finding = row_count_finding(3, WEEKS, day)
    assert finding.verdict is Verdict.ALARM
    assert finding.detail == "3 rows came; quiet windows have had 40."


@pytest.mark.parametrize("n", [60, 40, 25, 1000, 5000])
def test_week_ends_and_busy_days_are_fine(n: int, day: Window) -> None:
    assert row_count_finding(n, WEEKS, day).verdict is Verdict.OK


def test_where_silence_is_usual_it_is_no_alarm(day: Window) -> None:
    assert row_count_finding(0, [0, 0, 500, 700] * 5, day).verdict is Verdict.OK


def test_a_trickle_may_stop_by_chance(day: Window) -> None:
    assert row_count_finding(0, [8, 11, 9] * 7, day).verdict is Verdict.OK


def test_a_short_history_is_not_enough(day: Window) -> None:
    finding = row_count_finding(0, [1000] * 13, day)
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.detail == "13 past windows are too few to tell whether 0 rows are usual."


def test_hardly_any_harmless_stream_is_ever_said_to_have_collapsed(day: Window) -> None:
    """Counts that vary three times as much as independent arrivals would, for two years."""
    rng = np.random.default_rng(1)
    counts = rng.negative_binomial(100, 100 / 300, 730).tolist()
    for at in range(28, 730):
        assert row_count_finding(counts[at], counts[at - 28 : at], day).verdict is Verdict.OK
