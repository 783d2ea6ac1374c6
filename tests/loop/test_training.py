"""What cannot be trained as the settings say is refused before anything is read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from gyroscope.errors import ConfigError, GyroscopeError, MissingExtraError
from gyroscope.loop.training import train_first
from gyroscope.loop.world import World
from gyroscope.testing.small_workspace import MODEL


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"candidates": ["base_rate", "forest"]}, ConfigError, "no model family 'forest'"),
        ({"candidates": ["linear_regression"]}, ConfigError, "is not for a binary target"),
        ({"candidates": ["base_rate", "catboost"]}, MissingExtraError, r"gyroscope-ml\[catboost\]"),
        ({"metric": "rmse"}, ConfigError, "rmse is not for a binary target"),
        ({"estimator": "mine.skops"}, ConfigError, "mine.skops: No such file"),
    ],
)
def test_settings_are_checked_before_the_data_are_read(
    make_world: Callable[..., World],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    error: type[GyroscopeError],
    message: str,
) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)  # as if it were not installed
    said: list[str] = []
    world = make_world(**settings)
    with pytest.raises(error, match=message):
        train_first(world, MODEL, lambda step, detail: said.append(step))
    assert not said
