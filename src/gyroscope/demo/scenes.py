"""The calendar of the demonstration."""

from __future__ import annotations

from datetime import date

import msgspec

MODEL = "flights"
SEED = 2013

SETTINGS = {  # of the model, where the defaults are meant for slower worlds
    "window": "1d",
    "label_lag": "1d",
    "min_rows": 200,
    "retrain_rows": 3000,
    "cooldown": "5d",
    "probation": "7d",
    "trial_length": "21d",
    "recent_windows": [14, 42],
    "candidates": ["base_rate", "logistic_regression", "lightgbm"],
}
WORKSPACE = {"clock": "log", "port": 0}


class Calendar(msgspec.Struct, frozen=True, kw_only=True):
    """What happens when; spans are half-open."""

    train: tuple[date, date] = (date(2013, 1, 1), date(2013, 3, 1))
    stream: tuple[date, date] = (date(2013, 3, 1), date(2013, 4, 15))
    fault: tuple[date, date] = (date(2013, 3, 12), date(2013, 3, 15))
    change: date = date(2013, 3, 25)
    bad_version: date = date(2013, 4, 9)
