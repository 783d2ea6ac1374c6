import math

import numpy as np
import pytest

from gyroscope.stats.duplicates import duplicate_share


def test_rows_that_repeat_another_are_counted() -> None:
    X = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, math.nan], [1.0, math.nan], [0.0, 1], [-0.0, 1]])
    assert duplicate_share(X) == pytest.approx(0.5)
    assert duplicate_share(X[:1]) == 0.0
    assert duplicate_share(X[:0]) == 0.0
