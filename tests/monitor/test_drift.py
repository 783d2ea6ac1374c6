from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.profile import Profile, profile
from gyroscope.data.profile_spec import profile_spec, score_spec
from gyroscope.data.table_profile import reference_profile, table_profile
from gyroscope.errors import DataError
from gyroscope.findings import SEVERITY, Finding, Kind, Verdict, Window, worst
from gyroscope.monitor.changes import DriftRules
from gyroscope.monitor.drift import (
    drift_findings,
    drift_findings_by_window,
    score_drift_findings,
)

if TYPE_CHECKING:
    from tests.monitor.conftest import Change, People

    Drift = Callable[[People, Profile], list[Finding]]


def shifted(column: str, sd: float) -> Change:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        at = {f"normal_{i}": i for i in range(12)}[column]
        X[:, at] += sd

    return change


def found(findings: list[Finding], subject: str, check: str) -> Finding:
    return next(f for f in findings if (f.subject, f.check) == (subject, check))


def flagged(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(f.subject, f.check) for f in findings if f.verdict is Verdict.WARNING}


# -- what must be found, and where ---------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_quarter_of_a_standard_deviation_in_one_of_twenty_columns_is_found(
    people: People, drift: Drift, seed: int
) -> None:
    findings = drift(people, people.window(5000, seed, shifted("normal_7", 0.25)))
    assert flagged(findings) == {("normal_7", "psi")}
    assert findings[0].subject == "normal_7"
    assert findings[0].detail.startswith("Small change of normal_7: mean up from ")


def test_a_fiftieth_of_a_standard_deviation_is_no_warning_on_a_hundred_thousand_rows(
    make_people: type[People], drift: Drift
) -> None:
    people = make_people(100_000, seed=2)

    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        X[:, :12] += 0.02

    findings = drift(people, people.window(100_000, 3, change))
    assert worst(findings) in (Verdict.OK, Verdict.NOTICE)


def test_a_fiftieth_of_a_standard_deviation_on_a_million_rows_is_a_notice(day: Window) -> None:
    rng = np.random.default_rng(4)
    contract = one_column(ColumnType.NUMBER)
    X = rng.normal(size=(1_000_000, 1))
    reference = profile(X, profile_spec(X, contract.features))
    current = profile(rng.normal(0.02, size=(1_000_000, 1)), reference.spec)
    (finding,) = drift_findings(
        reference, current, day, DriftRules(material_psi=0.02, min_rows=100)
    )
    assert finding.verdict is Verdict.NOTICE
    assert "not surely above 0.02" in finding.detail


def test_missing_values_up_from_two_to_ten_percent_are_found(people: People, drift: Drift) -> None:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        X[rng.random(len(X)) < 0.08 / 0.98, people.column("income")] = math.nan

    findings = drift(people, people.window(1000, 5, change))
    assert flagged(findings) == {("income", "missing_rate")}
    assert "More missing values in income: share up from 1.9 % to " in findings[0].detail


def test_a_spread_half_as_large_again_is_found(people: People, drift: Drift) -> None:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        X[:, 3] *= 1.5

    findings = drift(people, people.window(1000, 6, change))
    assert flagged(findings) == {("normal_3", "psi")}
    assert "standard deviation up from 0.99" in findings[0].detail


def test_a_share_that_shifts_by_fifteen_points_is_found(people: People, drift: Drift) -> None:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        plan = X[:, people.column("plan")]
        plan[(plan == 1) & (rng.random(len(X)) < 0.3)] = 0

    findings = drift(people, people.window(1000, 7, change))
    assert flagged(findings) == {("plan", "psi")}
    assert findings[0].detail.startswith(
        "Small change of plan: share of 'basic' up from 30.5 % to 4"
    )


def test_three_percent_of_a_new_category_are_found(people: People, drift: Drift) -> None:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        X[rng.random(len(X)) < 0.03, people.column("plan")] = 3

    findings = drift(people, people.window(2000, 8, change))
    assert ("plan", "unseen_share") in flagged(findings)
    assert {subject for subject, _ in flagged(findings)} == {"plan"}
    unseen = found(findings, "plan", "unseen_share")
    assert (
        "More categories that are not listed in plan: share up from 0 % to 2.8 %" in unseen.detail
    )


def many_codes(n: int, seed: int, *, new: float = 0.0) -> dict[str, list[str]]:
    """Ten thousand codes, of which a list holds a thousand; a share of the rows has a new one."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(10_000, size=n).astype(str)
    return {"code": np.where(rng.random(n) < new, "brandnew", codes).tolist()}


def test_a_new_category_is_found_among_thousands_that_are_not_listed_either() -> None:
    spec, reference = reference_profile(many_codes(10_000, 1))
    current = table_profile(many_codes(2000, 2, new=0.03), spec)
    findings = drift_findings(reference, current, None, DriftRules())
    newcomer = found(findings, "code", "newcomer_share")
    assert newcomer.verdict is Verdict.WARNING
    assert newcomer.detail.startswith(
        "More rows with 'brandnew', which is not listed, in code: share up from at most 0.1 % to "
    )


def test_the_most_frequent_of_thousands_of_categories_is_chance() -> None:
    spec, reference = reference_profile(many_codes(4000, 1))
    windows = [(None, table_profile(many_codes(300, seed), spec)) for seed in range(2, 22)]
    examined = drift_findings_by_window(reference, windows, DriftRules(notice_alpha=0.2))
    seen = [f for findings in examined for f in findings if f.check == "newcomer_share"]
    assert len(seen) == 20
    assert all(f.verdict is Verdict.OK for f in seen)


def numbers(n: int, seed: int, *, infinite: float = 0.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"ratio": np.where(rng.random(n) < infinite, np.inf, rng.normal(size=n))}


def test_numbers_that_become_infinite_are_found() -> None:
    spec, reference = reference_profile(numbers(10_000, 1))
    current = table_profile(numbers(2000, 2, infinite=0.03), spec)
    infinite = found(
        drift_findings(reference, current, None, DriftRules()), "ratio", "infinite_share"
    )
    assert infinite.verdict is Verdict.WARNING
    assert infinite.detail.startswith(
        "More infinite values in ratio: share up from 0 % to 3 % (95 %"
    )


def test_as_many_infinite_numbers_as_ever_are_no_change() -> None:
    spec, reference = reference_profile(numbers(10_000, 1, infinite=0.03))
    current = table_profile(numbers(2000, 2, infinite=0.03), spec)
    findings = drift_findings(reference, current, None, DriftRules(notice_alpha=0.2))
    assert worst(findings) is Verdict.OK


def test_numbers_that_are_all_infinite_have_no_mean() -> None:
    spec, reference = reference_profile(numbers(1000, 1))
    current = table_profile(numbers(1000, 2, infinite=1.0), spec)
    findings = drift_findings(reference, current, None, DriftRules())
    assert ": all values are infinite (" in found(findings, "ratio", "psi").detail


def ages(n: int, seed: int, *, code: float = 0.0, share: float = 0.0) -> dict[str, np.ndarray]:
    """Ages of grown-up people, and a code in the place of a share of them."""
    rng = np.random.default_rng(seed)
    return {"age": np.where(rng.random(n) < share, code, rng.integers(18, 90, n).astype(float))}


@pytest.mark.parametrize("code", [-999.0, -1.0, 0.0, 9999.0, 1e300, 5e-324])
def test_a_code_in_the_place_of_numbers_is_found(code: float) -> None:
    spec, reference = reference_profile(ages(5000, 1))
    current = table_profile(ages(2000, 2, code=code, share=0.03), spec)
    findings = drift_findings(reference, current, None, DriftRules())
    strange = found(findings, "age", "strange_share")
    assert strange.verdict is Verdict.WARNING
    assert strange.detail.startswith(
        "More values of a size that the reference does not hold in age: share up from 0 % to "
    )
    assert ", was 18" in strange.detail


@pytest.mark.parametrize("code", [-999.0, 0.0])
def test_a_code_that_the_reference_has_too_is_no_change(code: float) -> None:
    spec, reference = reference_profile(ages(5000, 1, code=code, share=0.03))
    current = table_profile(ages(2000, 2, code=code, share=0.03), spec)
    findings = drift_findings(reference, current, None, DriftRules(notice_alpha=0.2))
    assert worst(findings) is Verdict.OK


def test_the_longest_tails_hold_hardly_anything_strange() -> None:
    rng = np.random.default_rng(1)
    seen = []
    for _ in range(60):
        old, new = ({"x": np.exp(rng.normal(0, 60, 300))} for _ in range(2))
        spec, reference = reference_profile(old)
        findings = drift_findings(reference, table_profile(new, spec), None, DriftRules())
        seen += [f.verdict for f in findings if f.check == "strange_share"]
    assert seen, "the tails are not long enough to say anything"
    assert set(seen) == {Verdict.OK}


def test_long_texts_are_told_by_their_beginning() -> None:
    rng = np.random.default_rng(1)
    texts = np.array(["a" * 5000, "b" * 5000])
    spec, reference = reference_profile({"note": rng.choice(texts, 1000)})
    current = table_profile({"note": rng.choice(texts, 1000, p=[0.1, 0.9])}, spec)
    finding = found(drift_findings(reference, current, None, DriftRules()), "note", "psi")
    assert f"share of '{'a' * 37}...' down from " in finding.detail
    assert len(finding.detail) < 200


def test_a_reference_of_infinite_numbers_has_no_range() -> None:
    spec, reference = reference_profile(numbers(2000, 1, infinite=1.0))
    findings = drift_findings(reference, table_profile(numbers(2000, 2), spec), None, DriftRules())
    assert found(findings, "ratio", "infinite_share").verdict is Verdict.WARNING
    assert "outside_share" not in {finding.check for finding in findings}


def test_the_range_of_ten_numbers_says_nothing() -> None:
    ten = np.where(np.arange(2000) < 10, numbers(2000, 1)["ratio"], np.nan)
    spec, reference = reference_profile({"ratio": ten})
    current = table_profile(numbers(2000, 2), spec)
    findings = drift_findings(reference, current, None, DriftRules())
    assert "outside_share" not in {finding.check for finding in findings}


def test_one_of_a_thousand_rare_categories_that_becomes_common_is_found(
    people: People, drift: Drift
) -> None:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        X[rng.random(len(X)) < 0.1, people.column("city")] = 600

    findings = drift(people, people.window(300, 9, change))
    assert flagged(findings) == {("city", "psi")}
    assert "share of '600' up from 0.0" in findings[0].detail


def test_a_flag_that_turns_common_is_found(people: People, drift: Drift) -> None:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        X[rng.random(len(X)) < 0.2, people.column("flag")] = 1

    findings = drift(people, people.window(500, 10, change))
    assert flagged(findings) == {("flag", "psi")}
    assert "share of 'true'" not in findings[0].detail
    assert "share of true up from 3" in findings[0].detail or "share of false" in findings[0].detail


def test_the_worst_finding_comes_first(people: People, drift: Drift) -> None:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        X[:, 2] += 0.3
        X[:, 5] += 2.0

    findings = drift(people, people.window(5000, 11, change))
    assert [f.subject for f in findings[:2]] == ["normal_5", "normal_2"]
    ranks = [SEVERITY.index(f.verdict) for f in findings]
    assert ranks == sorted(ranks, reverse=True)


def test_drift_is_never_an_alarm(people: People, drift: Drift) -> None:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        X[:] = 99.0

    assert worst(drift(people, people.window(1000, 12, change))) is Verdict.WARNING


# -- what must not be found ----------------------------------------------------------------------


@pytest.mark.parametrize(("n_reference", "n"), [(2000, 500), (20_000, 100), (20_000, 3000)])
def test_windows_without_change_are_hardly_ever_flagged(
    make_people: type[People], drift: Drift, n_reference: int, n: int
) -> None:
    """Hardly 1 in 1000 windows may have a finding; two or more in 60 have a chance of 0.002."""
    noticed = 0
    for seed in range(6):
        people = make_people(n_reference, seed=100 + seed)
        for k in range(10):
            verdict = worst(drift(people, people.window(n, 1000 * seed + k)))
            assert verdict is not Verdict.WARNING
            noticed += verdict is Verdict.NOTICE
    assert noticed <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_reference", "n"), [(2000, 500), (20_000, 100), (20_000, 1000), (5000, 20_000)]
)
def test_windows_without_change_are_flagged_at_most_once_in_several_hundred(
    make_people: type[People], drift: Drift, n_reference: int, n: int
) -> None:
    """Warnings and notices in 300 windows of 20 columns, one of a thousand levels."""
    verdicts = []
    for seed in range(30):
        people = make_people(n_reference, seed=200 + seed)
        verdicts += [
            worst(drift(people, people.window(n, 10_000 + 1000 * seed + k))) for k in range(10)
        ]
    assert verdicts.count(Verdict.WARNING) <= 1
    assert verdicts.count(Verdict.NOTICE) <= 2


@pytest.mark.slow
@pytest.mark.parametrize("n_reference", [5000, 10_000, 50_000])
def test_a_quarter_of_a_standard_deviation_is_hardly_ever_missed(
    make_people: type[People], drift: Drift, n_reference: int
) -> None:
    seen = 0
    for seed in range(20):
        people = make_people(n_reference, seed=300 + seed)
        for k in range(10):
            window = people.window(5000, 20_000 + 1000 * seed + k, shifted("normal_7", 0.25))
            seen += ("normal_7", "psi") in flagged(drift(people, window))
    assert seen >= 190


def test_a_season_that_the_reference_has_been_through_is_no_drift(day: Window) -> None:
    rng = np.random.default_rng(13)
    contract = one_column(ColumnType.NUMBER)
    year = 15 + 10 * np.sin(np.linspace(0, 2 * math.pi, 20_000)) + rng.normal(0, 3, 20_000)
    spec = profile_spec(year[:, np.newaxis], contract.features, in_time_order=True)
    reference = profile(year[:, np.newaxis], spec)
    for level, expected in ((24.0, Verdict.OK), (60.0, Verdict.WARNING)):
        summer = profile(rng.normal(level, 3, (1000, 1)), spec)
        worst, *_ = drift_findings(reference, summer, day, DriftRules(min_rows=100))
        assert worst.verdict is expected, worst.detail
        assert ("beyond the range of the reference" in worst.detail) == (level == 60.0)


# -- too little data and edges -------------------------------------------------------------------


def test_eight_rows_are_not_enough_and_the_number_that_would_be_is_named(
    people: People, drift: Drift
) -> None:
    (finding,) = drift(people, people.window(8, 14))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.n == 8
    assert finding.n_needed is not None
    assert finding.detail == (
        "all columns: 8 rows with a value are too few to tell a change from chance; "
        f"{finding.n_needed} would be enough."
    )
    enough = drift(people, people.window(finding.n_needed, 15))
    verdicts = {f.verdict for f in enough if f.subject.startswith("normal")}
    assert verdicts == {Verdict.OK}


def test_a_column_hardly_ever_filled_has_not_enough_data(people: People, drift: Drift) -> None:
    def change(X: np.ndarray, rng: np.random.Generator) -> None:
        X[50:, people.column("income")] = math.nan

    findings = drift(people, people.window(1000, 16, change))
    lacking = found(findings, "income", "psi")
    assert lacking.verdict is Verdict.NOT_ENOUGH_DATA
    assert lacking.n_needed is not None
    assert lacking.n_needed >= 2000
    assert found(findings, "income", "missing_rate").verdict is Verdict.WARNING


def test_a_level_too_rare_for_the_window_has_not_enough_data(day: Window) -> None:
    contract = one_column(ColumnType.BOOLEAN)
    X = np.zeros((10_000, 1))
    X[::500] = 1
    reference = profile(X, profile_spec(X, contract.features))
    few = profile(np.zeros((200, 1)), reference.spec)
    (finding,) = drift_findings(reference, few, day, DriftRules(material_psi=0.02, min_rows=100))
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.n_needed == 3334


def test_a_reference_that_is_too_small_is_named_as_the_cause(day: Window) -> None:
    contract = one_column(ColumnType.NUMBER)
    rng = np.random.default_rng(17)
    X = rng.normal(size=(30, 1))
    reference = profile(X, profile_spec(X, contract.features))
    current = profile(rng.normal(size=(5000, 1)), reference.spec)
    (finding,) = drift_findings(
        reference, current, day, DriftRules(material_psi=0.02, min_rows=100)
    )
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.n_needed is None
    assert "the reference itself has too few; take a larger one" in finding.detail


@pytest.mark.parametrize("n", [400, 4000])
def test_of_identifiers_no_larger_reference_is_asked_for(n: int) -> None:
    spec, reference = reference_profile({"id": [f"before {i}" for i in range(n)]})
    current = table_profile({"id": [f"after {i}" for i in range(n)]}, spec)
    (finding,) = drift_findings(
        reference, current, None, DriftRules(material_psi=0.02, min_rows=100)
    )
    assert finding.verdict is Verdict.NOT_ENOUGH_DATA
    assert finding.detail.startswith("id: its values hardly repeat")


@given(
    st.lists(st.integers(0, 400), min_size=2, max_size=6),
    st.lists(st.integers(0, 40), min_size=2, max_size=6),
    st.lists(st.integers(0, 9), min_size=6, max_size=6),
    st.integers(0, 60),
)
@settings(max_examples=60, deadline=None)
def test_with_as_many_rows_as_are_named_the_column_is_judged(
    before: list[int], after: list[int], then: list[int], missing: int
) -> None:
    """Whatever these rows hold; where no number is named, the reference is what is too small."""
    contract = one_column(ColumnType.CATEGORY)
    rules = DriftRules(min_rows=20)

    def rows(counts: list[int], absent: int) -> np.ndarray:
        codes = np.repeat(np.minimum(np.arange(len(counts)), 3.0), counts)
        return np.concatenate([codes, np.full(absent, math.nan)])[:, np.newaxis]

    X = rows(before, missing)
    reference = profile(X, profile_spec(X, contract.features))
    window = rows(after, missing)
    if len(window) < rules.min_rows:
        return
    judged = drift_findings(reference, profile(window, reference.spec), None, rules)
    lacking = [f for f in judged if f.verdict is Verdict.NOT_ENOUGH_DATA]
    for finding in lacking:
        if finding.n_needed is None:
            lesser = min(max(before[:3]), sum(before) - max(before[:3]))
            assert sum(before) < rules.min_rows or lesser < 10
            continue
        present = 1 - np.isnan(window).mean() or 1 - np.isnan(X).mean()
        values = math.ceil(finding.n_needed * present - 1e-9)
        if values > sum(before):
            continue  # beyond the reference a level that never comes is a surprise in any case
        other = then if sum(then) else [1, *then]
        shares = np.array(other) * values // sum(other)
        shares[0] += values - shares.sum()
        again = profile(rows(shares.tolist(), finding.n_needed - values), reference.spec)
        verdicts = [f.verdict for f in drift_findings(reference, again, None, rules)]
        assert Verdict.NOT_ENOUGH_DATA not in verdicts


def one_column(kind: ColumnType) -> Contract:
    categories = ("a", "b", "c") if kind is ColumnType.CATEGORY else ()
    column = Column(name="x", type=kind, categories=categories, unknown="other")
    target = Column(name="y", type=ColumnType.BOOLEAN, role=Role.TARGET)
    return Contract(columns=(column, target), positive=("true",), negative=("false",))


values = st.lists(
    st.one_of(st.floats(allow_nan=True), st.sampled_from([0.0, 1.0, 2.0, 3.0])), max_size=60
)


@given(
    st.sampled_from(
        [ColumnType.NUMBER, ColumnType.BOOLEAN, ColumnType.CATEGORY, ColumnType.INTEGER]
    ),
    values,
    values,
    st.booleans(),
)
def test_every_pair_of_columns_has_an_answer_in_words(
    kind: ColumnType, before: list[float], after: list[float], in_time_order: bool
) -> None:
    from datetime import UTC, datetime

    day = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    contract = one_column(kind)
    X, Y = (np.array(x, dtype=np.float64)[:, np.newaxis] for x in (before, after))
    reference = profile(X, profile_spec(X, contract.features, in_time_order=in_time_order))
    findings = drift_findings(
        reference, profile(Y, reference.spec), day, DriftRules(material_psi=0.02, min_rows=1)
    )
    for finding in findings:
        assert finding.detail.endswith(".")
        assert "nan" not in finding.detail
        assert finding.p_value is None or 0 <= finding.p_value <= 1


def test_times_are_put_as_dates(day: Window) -> None:
    contract = one_column(ColumnType.DATETIME)
    start = 1_767_225_600.0  # 2026-01-01
    X = start + np.arange(2000.0)[:, np.newaxis] * 3600
    reference = profile(X, profile_spec(X, contract.features))
    earlier = profile(X[:500], reference.spec)
    finding, *_ = drift_findings(
        reference, earlier, day, DriftRules(material_psi=0.02, min_rows=100)
    )
    assert finding.verdict is Verdict.WARNING
    assert "median down from 2026-02-11 " in finding.detail
    assert "mean" not in finding.detail


@pytest.mark.parametrize("in_time_order", [True, False])
def test_times_that_move_on_are_a_notice(day: Window, in_time_order: bool) -> None:
    contract = one_column(ColumnType.DATETIME)
    X = 1_767_225_600.0 + np.arange(20_000.0)[:, np.newaxis] * 3600
    spec = profile_spec(X, contract.features, in_time_order=in_time_order)
    reference = profile(X, spec)
    for days in (8, 300):
        later = profile(X[-2000:] + days * 86_400, spec)
        findings = drift_findings(reference, later, day, DriftRules(min_rows=100))
        assert worst(findings) in (Verdict.NOTICE, Verdict.OK)
    assert worst(findings) is Verdict.NOTICE
    assert found(findings, "x", "outside_share").value == pytest.approx(1.0, abs=0.01)


def test_profiles_on_other_cells_are_an_error(day: Window) -> None:
    contract = one_column(ColumnType.NUMBER)
    one, other = (np.arange(n, dtype=float)[:, np.newaxis] for n in (200, 300))
    reference = profile(one, profile_spec(one, contract.features))
    stranger = profile(other, profile_spec(other, contract.features))
    with pytest.raises(DataError, match="counted on other cells than the reference"):
        drift_findings(reference, stranger, day, DriftRules(material_psi=0.02, min_rows=100))


# -- scores --------------------------------------------------------------------------------------


def scores(shift: float, n: int, seed: int) -> np.ndarray:
    return 1 / (1 + np.exp(-np.random.default_rng(seed).normal(shift - 1, 1, n)))


def test_scores_that_move_are_a_warning_with_their_mean(day: Window) -> None:
    reference = profile(scores(0, 5000, 18), score_spec(scores(0, 5000, 18)))
    moved = profile(scores(0.5, 2000, 19), reference.spec)
    (finding,) = score_drift_findings(
        reference, moved, day, DriftRules(material_psi=0.02, min_rows=100)
    )
    assert (finding.kind, finding.subject) == (Kind.SCORE_DRIFT, "score")
    assert finding.verdict is Verdict.WARNING
    assert "change of score: mean up from 0.30" in finding.detail


def test_scores_that_stay_are_fine_and_few_are_not_enough(day: Window) -> None:
    reference = profile(scores(0, 5000, 20), score_spec(scores(0, 5000, 20)))
    for n, expected in ((2000, Verdict.OK), (50, Verdict.NOT_ENOUGH_DATA)):
        same = profile(scores(0, n, 21), reference.spec)
        (finding,) = score_drift_findings(
            reference, same, day, DriftRules(material_psi=0.02, min_rows=100)
        )
        assert finding.verdict is expected


def test_many_windows_at_once_are_judged_as_each_by_itself(people: People) -> None:
    """Columns and windows of equal width are measured together; the answers must not mix."""
    changed = people.window(900, 1, shifted("normal_7", 0.5))
    windows = [(None, w) for w in (people.window(2000, 2), people.window(40, 3), changed)]
    rules = DriftRules()
    together = drift_findings_by_window(people.reference, windows, rules)
    alone = [drift_findings(people.reference, current, None, rules) for _, current in windows]
    assert [len(found) for found in together] == [len(found) for found in alone]
    for one, other in zip(chain(*together), chain(*alone), strict=True):
        assert (one.subject, one.check, one.verdict, one.n) == (
            other.subject,
            other.check,
            other.verdict,
            other.n,
        )
        if one.p_value is not None:
            assert one.p_value == pytest.approx(other.p_value, rel=1e-9, abs=1e-300)
        if one.value is not None:
            assert one.value == pytest.approx(other.value, rel=1e-9, abs=1e-12)
    assert ("normal_7", "psi") in flagged(together[2])


def test_rows_so_alike_within_a_part_that_they_are_worth_none_are_not_compared() -> None:
    rng = np.random.default_rng(0)
    levels = np.repeat(rng.normal(0, 100, (2, 3)), 1000, axis=0)
    table = dict(zip("abc", (levels + rng.normal(0, 0.001, levels.shape)).T, strict=True))
    spec, reference = reference_profile(table, in_time_order=True)
    current = table_profile(
        {name: held[:500] for name, held in table.items()}, spec, reference=reference
    )
    found = drift_findings(reference, current, None, DriftRules())
    assert worst(found) is Verdict.OK
    assert not [finding for finding in found if finding.kind is Kind.JOINT_DRIFT]
