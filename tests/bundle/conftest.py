"""The kernels of trees, in C and in NumPy."""

from __future__ import annotations

import pytest

from gyroscope.kernels import compiled, trees


@pytest.fixture(params=["C", "NumPy"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each of the two in turn, for scorers made in the test."""
    if request.param == "NumPy":
        monkeypatch.setattr(trees, "library", lambda: None)
    elif not compiled():
        pytest.skip("no compiler was there at installation")
    return str(request.param)
