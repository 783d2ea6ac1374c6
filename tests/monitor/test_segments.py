import numpy as np

from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.profile_spec import profile_spec
from gyroscope.findings import Finding, Verdict, Window
from gyroscope.monitor.segments import segment_findings

COLUMNS = [
    Column(name="age", type=ColumnType.NUMBER, nullable=True),
    Column(name="plan", type=ColumnType.CATEGORY, categories=("basic", "gold", "pro")),
    Column(name="since", type=ColumnType.DATETIME),
]


def examined(seed: int, day: Window, *, n: int = 10_000, broken: str = "") -> list[Finding]:
    """Findings of a day in which the labels of one segment have turned around."""
    rng = np.random.default_rng(seed)
    age = rng.normal(40, 10, n)
    age[rng.random(n) < 0.05] = np.nan
    plan, since = rng.integers(0, 3, n), 1.7e9 + rng.random(n) * 3e7
    X = np.column_stack([age, plan, since])
    p = 1 / (1 + np.exp(-rng.normal(0, 1.5, n)))
    wrong = {
        "": np.zeros(n, dtype=bool),
        "pair": (age > 47) & (plan == 1),
        "missing": np.isnan(age),
        "late": since > 1.7e9 + 2.6e7,
    }[broken]
    y = (rng.random(n) < np.where(wrong, 1 - p, p)).astype(float)
    return segment_findings(X, y, p, profile_spec(X, COLUMNS), day, alpha=1e-3)


def test_a_segment_of_two_columns_is_found_and_named_in_words(day: Window) -> None:
    worst = examined(1, day, broken="pair")[0]
    assert worst.verdict is Verdict.WARNING
    assert set(worst.suspects) == {"age", "plan"}
    assert "plan is gold" in worst.subject
    assert " < age" in worst.subject


def test_missing_values_and_times_are_segments_too(day: Window) -> None:
    assert examined(2, day, broken="missing")[0].subject == "age is missing"
    late = examined(3, day, broken="late")
    assert any(f.subject.endswith("< since") and "2024-" in f.subject for f in late)


def test_where_the_scores_are_right_there_is_none(day: Window) -> None:
    for seed in range(10):
        (finding,) = examined(10 + seed, day)
        assert finding.verdict is Verdict.OK
        assert finding.detail == "No segment of 10000 labelled rows is surely worse than the rest."


def test_few_rows_are_not_enough(day: Window) -> None:
    (finding,) = examined(4, day, n=500)
    assert (finding.verdict, finding.n_needed) == (Verdict.NOT_ENOUGH_DATA, 1000)
