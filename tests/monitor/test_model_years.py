"""No change, no more warnings than the budget allows: a small version of benchmarks/budget.py."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import pytest


@pytest.fixture(scope="module")
def budget() -> ModuleType:
    """The benchmark, which knows how to simulate model-years."""
    path = Path(__file__).parents[2] / "benchmarks" / "budget.py"
    spec = importlib.util.spec_from_file_location("benchmark_of_the_budget", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_reference_that_went_through_levels_of_batches_allows_them(budget: ModuleType) -> None:
    """Sixty windows of batches that differ by 0.3 sd: taken as independent, dozens are flagged."""
    world = budget.World(name="levels", columns=5, rows=100, reference=5_000, level=0.3, windows=60)
    assert budget.model_year(world, 1).flagged <= 2


@pytest.mark.slow
def test_windows_without_change_are_flagged_no_oftener_than_the_budget_allows(
    budget: ModuleType,
) -> None:
    """Twelve model-years. Three times what is allowed would be 12.6 windows; 9 or more of 4.2 have
    a chance of 0.03 if all of the budget were used, and less than a third of it is."""
    worlds = {
        (world.name, world.columns, world.rows): msgspec.structs.replace(world, columns=10)
        for world in budget.WORLDS
        if world.windows == 365 and world.columns == 20
    }
    flagged = years = 0
    for seed, key in enumerate(
        [
            ("independent rows", 20, 150),
            ("AR(1) rows, 0.5", 20, 300),
            ("levels of 0.3", 20, 500),
            ("levels of 0.1 in a tenth", 20, 500),
            ("days of the week, many", 20, 100),
            ("slow walk and levels", 20, 300),
        ]
    ):
        for year in range(2):
            flagged += budget.model_year(worlds[key], 100 * seed + year).flagged
            years += 1
    assert years == 12
    assert flagged <= 8
