"""What the model looked like when it was new: the state that windows are compared with."""

from __future__ import annotations

import msgspec

from gyroscope.data.outcomes import LabelDispersions, Losses, Outcomes
from gyroscope.data.profile import Profile
from gyroscope.stats.calibration_map import CalibrationMap
from gyroscope.stats.excess_loss import ExcessReference
from gyroscope.stats.intervals import Estimate
from gyroscope.stats.random_effects import RandomEffects


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Columns as trained on; scores and performance on test rows, which nothing was fitted on."""

    columns: Profile  # of all rows of the training set, with how they go together
    scores: Profile  # of the test rows; a column for each class if there are several
    n: int  # test rows
    positives: int  # among them; of other tasks those that came as promised
    metrics: dict[str, Estimate]  # on the test rows; only those that are defined
    excess: ExcessReference  # how the excess loss varied from window to window
    ranking: RandomEffects | None = None  # how the shortfall of the ROC AUC did
    outcomes: Outcomes | None = None  # the test rows by cell, score and label; binary only
    losses: Losses | None = None  # the test rows by cell: losses and labels; of other tasks
    label_dispersions: LabelDispersions | None = None  # of all rows; None without event times
    calibration: CalibrationMap | None = None  # of the scores, on the test rows
    duplicates: float = 0.0  # share of the training rows that repeat another
    rows_per_day: float | None = None  # of the training set; None without event times
    usual_error: float | None = None  # that four of five test rows do not exceed; of values only
    labels: Profile | None = None  # of the test rows; None if binary
