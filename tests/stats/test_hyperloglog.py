import numpy as np
import pytest

from gyroscope.kernels import Stretch, tally_numbers
from gyroscope.stats.hyperloglog import distinct_estimate

NO_EDGES = np.zeros(0)


def sketch_of(values: np.ndarray) -> np.ndarray:
    return tally_numbers([Stretch(values=values)], NO_EDGES).sketch


def test_nothing_seen_is_nothing_distinct() -> None:
    assert distinct_estimate(np.zeros(1024, dtype=np.uint8)) == 0.0


@pytest.mark.parametrize("distinct", [1, 10, 100, 2560, 5000, 50_000])
def test_the_error_is_as_flajolet_and_others_say(distinct: int) -> None:
    """Mean and spread over 40 sketches, at the number where the first estimator is biased, too."""
    rng = np.random.default_rng(distinct)
    estimates = [distinct_estimate(sketch_of(rng.random(distinct))) for _ in range(40)]
    error = 1.04 / 32
    ratios = np.array(estimates) / distinct
    assert ratios.mean() == pytest.approx(1, abs=4 * error / np.sqrt(40))
    assert ratios.std() <= error * 1.5


def test_sketches_are_joined_by_their_larger_registers() -> None:
    x = np.random.default_rng(1).random(3000)
    joined = np.maximum(sketch_of(x[:2000]), sketch_of(x[1000:]))
    assert np.array_equal(joined, sketch_of(x))
