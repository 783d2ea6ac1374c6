"""The changes that tools are compared on are what their names say."""

import numpy as np
import pytest
from benchmarks.drift.settings import SETTINGS, Setting
from benchmarks.drift.worlds import NARROW, SD, Columns, draw

ROWS = 20_000
BY_NAME = {setting.name: setting for setting in SETTINGS}


def changed(setting: Setting) -> tuple[Columns, Columns]:
    """Reference and current rows that differ by the change alone."""
    reference, current = (draw(NARROW, ROWS, np.random.default_rng(1)) for _ in range(2))
    setting.before(reference, np.random.default_rng(2))
    setting.after(current, np.random.default_rng(3))
    return reference, current


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_only_the_columns_that_are_named_change(setting: Setting) -> None:
    reference, current = changed(setting)
    differing = {n for n in reference if not np.array_equal(reference[n], current[n])}
    assert differing <= set(setting.changed)
    assert bool(differing) == bool(setting.changed)


@pytest.mark.parametrize("sds", [0.02, 0.1, 0.25, 0.5])
def test_a_shift_moves_the_mean_by_so_many_standard_deviations(sds: float) -> None:
    setting = next(s for s in SETTINGS if s.name.startswith(f"shift {sds} sd"))
    reference, current = changed(setting)
    name = setting.changed[0]
    assert np.allclose(current[name] - reference[name], sds * SD)


def test_a_correlation_leaves_each_column_as_it_was() -> None:
    reference, current = changed(BY_NAME["correlation 0 -> 0.6, 5,000 rows"])
    first, second = "normal_0", "normal_1"
    assert np.corrcoef(reference[first], reference[second])[0, 1] == pytest.approx(0, abs=0.03)
    assert np.corrcoef(current[first], current[second])[0, 1] == pytest.approx(0.6, abs=0.03)
    assert np.std(current[second]) == pytest.approx(SD, rel=0.03)


def test_shares_change_by_as_much_as_is_said() -> None:
    reference, current = changed(BY_NAME["category share 15 points"])
    moved = [
        np.mean(current["category_0"] == k) - np.mean(reference["category_0"] == k) for k in (0, 3)
    ]
    assert moved == pytest.approx([-0.15, 0.15], abs=0.01)
    _, current = changed(BY_NAME["new category 3 %"])
    assert np.mean(current["category_2"] == 10) == pytest.approx(0.03, abs=0.005)
    reference, current = changed(BY_NAME["missing 2 % -> 10 %"])
    missing = [np.mean(np.isnan(rows["normal_0"])) for rows in (reference, current)]
    assert missing == pytest.approx([0.02, 0.10], abs=0.01)
