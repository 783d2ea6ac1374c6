import numpy as np
import pytest

from gyroscope.data.contract import Column, ColumnType
from gyroscope.data.profile import Profile, joint_summary, profile
from gyroscope.data.profile_spec import profile_spec
from gyroscope.errors import DataError
from gyroscope.findings import Finding, Kind, Verdict, Window
from gyroscope.monitor.changes import DriftRules
from gyroscope.monitor.drift import drift_findings
from gyroscope.monitor.joint import domain_finding

NAMES = [f"x{k}" for k in range(6)]
COLUMNS = [Column(name=name, type=ColumnType.NUMBER) for name in NAMES]
RULES = DriftRules(alpha=1e-4, min_rows=100)


def rows(seed: int, n: int, r: float = 0.0) -> np.ndarray:
    """Normals of which x1 and x4 correlate by r."""
    X = np.random.default_rng(seed).normal(size=(n, len(NAMES)))
    X[:, 4] = r * X[:, 1] + np.sqrt(1 - r * r) * X[:, 4]
    return X


def with_joint(X: np.ndarray, reference: Profile | None = None) -> Profile:
    spec = profile_spec(X, COLUMNS) if reference is None else reference.spec
    made = profile(X, spec)
    found = joint_summary(X, reference or made)
    return Profile(spec=spec, n=made.n, columns=made.columns, joint=found)


def joint_finding(reference: Profile, current: Profile, day: Window) -> Finding:
    found = drift_findings(reference, current, day, RULES)
    (finding,) = [f for f in found if f.kind is Kind.JOINT_DRIFT]
    return finding


def test_a_changed_correlation_is_found_though_no_column_changed(day: Window) -> None:
    reference = with_joint(rows(1, 10_000))
    finding = joint_finding(reference, with_joint(rows(2, 2000, r=0.5), reference), day)
    assert finding.verdict is Verdict.WARNING
    assert finding.subject == "x1 and x4"
    assert "correlation of ranks up from" in finding.detail
    calm = joint_finding(reference, with_joint(rows(3, 2000), reference), day)
    assert calm.verdict is Verdict.OK
    assert calm.detail.startswith("No sure change of how columns go together")


def test_a_slightly_changed_correlation_on_many_rows_is_a_notice(day: Window) -> None:
    reference = with_joint(rows(4, 60_000))
    finding = joint_finding(reference, with_joint(rows(5, 60_000, r=0.08), reference), day)
    assert finding.verdict is Verdict.NOTICE


def test_summaries_of_two_days_are_one_of_both(day: Window) -> None:
    reference = with_joint(rows(6, 5000))
    parts = [with_joint(rows(seed, 1000, r=0.5), reference) for seed in (7, 8)]
    finding = joint_finding(reference, parts[0].merged(parts[1]), day)
    assert (finding.verdict, finding.n) == (Verdict.WARNING, 2000)


def test_a_classifier_sees_it_too_and_names_the_columns(day: Window) -> None:
    found = domain_finding(rows(1, 4000), rows(2, 4000, r=0.7), NAMES, day, RULES)
    assert found.verdict is Verdict.WARNING
    assert set(found.suspects[:2]) == {"x1", "x4"}
    calm = domain_finding(rows(1, 4000), rows(3, 4000), NAMES, day, RULES)
    assert (calm.verdict, calm.suspects) == (Verdict.OK, ())


def test_a_classifier_needs_rows_and_the_same_columns(day: Window) -> None:
    few = domain_finding(rows(1, 4000), rows(2, 150), NAMES, day, RULES)
    assert (few.verdict, few.n_needed) == (Verdict.NOT_ENOUGH_DATA, 200)
    with pytest.raises(DataError):
        domain_finding(rows(1, 500), rows(2, 500)[:, :3], NAMES, day, RULES)
