"""What the server answers: the shapes of its JSON bodies."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from gyroscope.data.contract import Contract, Task
from gyroscope.model import Value

Time = Annotated[datetime, Meta(tz=True)]


# By position, and of no concern to the garbage collector: a large answer has hundreds of them.
class FeatureContribution(Struct, frozen=True, gc=False):
    """What one feature adds to the margin of a row, its exact Shapley value, or to its score."""

    feature: str
    value: Value  # as sent
    contribution: float  # in the unit of the margin, or a probability if that was asked for


class RowPrediction(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The prediction for one row of many.

    A row that a canary served says version, threshold and base, and of several classes each row
    its base. base (of the row, else of the answer) + the contributions + rest = margin, or the
    probability if that was asked for.
    """

    prediction_id: str | UnsetType = UNSET  # to send with the label; none if only explained
    version: int | UnsetType = UNSET  # with threshold and base: if not those of the answer
    threshold: float | UnsetType = UNSET
    base: float | UnsetType = UNSET
    time: Time  # event time: the time column of the row, else when it arrived
    probability: float | UnsetType = UNSET  # of the positive class, or of the label; calibrated
    label: str | UnsetType = UNSET  # positive from the threshold on, or the most probable class
    probabilities: dict[str, float] | UnsetType = UNSET  # of all classes, if there are several
    value: float | UnsetType = UNSET  # the number predicted, if the target is one
    explained: str | UnsetType = UNSET  # which of several classes base and the following are about
    margin: float | UnsetType = UNSET
    contributions: tuple[FeatureContribution, ...] | UnsetType = UNSET  # largest first
    rest: float | UnsetType = UNSET  # sum over all features not listed
    sentence: str | UnsetType = UNSET  # the prediction in words, if asked for


class ManyPredictions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to "rows", in their order."""

    model: str
    version: int
    threshold: float | UnsetType = UNSET  # only of two classes
    base: float | UnsetType = UNSET  # margin, or probability, before anything is known of a row
    predictions: tuple[RowPrediction, ...]


class OnePrediction(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to "row".

    base + the contributions + rest = margin, or the probability if that was asked for.
    """

    model: str
    version: int
    prediction_id: str | UnsetType = UNSET  # to send with the label; none if only explained
    time: Time  # event time: the time column of the row, else when it arrived
    probability: float | UnsetType = UNSET  # of the positive class, or of the label; calibrated
    label: str | UnsetType = UNSET  # positive from the threshold on, or the most probable class
    probabilities: dict[str, float] | UnsetType = UNSET  # of all classes, if there are several
    value: float | UnsetType = UNSET  # the number predicted, if the target is one
    threshold: float | UnsetType = UNSET  # only of two classes
    explained: str | UnsetType = UNSET  # which of several classes the following are about
    margin: float | UnsetType = UNSET
    base: float | UnsetType = UNSET  # margin, or probability, before anything is known of a row
    contributions: tuple[FeatureContribution, ...] | UnsetType = UNSET  # largest first
    rest: float | UnsetType = UNSET  # sum over all features not listed
    sentence: str | UnsetType = UNSET  # the prediction in words, if asked for


class LabelsAccepted(Struct, frozen=True, kw_only=True):
    """The answer to labels."""

    accepted: int  # labels now in the log
    unknown: tuple[str, ...]  # prediction ids that no prediction has; their labels are not kept


class ModelSummary(Struct, frozen=True, kw_only=True):
    """One line of the list of models."""

    model: str
    version: int | None  # None while there is no champion
    serving_since: Time | None  # when this process began to serve the version


class ModelList(Struct, frozen=True, kw_only=True):
    """The models of this server."""

    models: tuple[ModelSummary, ...]


class ModelDetails(Struct, frozen=True, kw_only=True):
    """The champion of a model."""

    model: str
    version: int
    previous_version: int | None  # what a rollback goes to
    serving_since: Time  # when this process began to serve the version
    family: str
    task: Task  # binary, multiclass or regression
    threshold: float | None  # a probability at or above it is labelled positive; binary only
    unit: str  # of margins and contributions
    explains: bool  # whether there are contributions; none for an estimator of the user's own
    metrics: dict[str, float]  # on the test rows
    canary_version: int | None  # serves a share of the entities beside the champion
    canary_percent: float | None  # that share
    snapshot: str  # digest of the training data
    trained_from: str | None
    trained_until: str | None
    contract: Contract


class Health(Struct, frozen=True, kw_only=True):
    """The process is up."""

    status: str


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether every model can predict and its log can be written."""

    ready: bool
    problems: tuple[str, ...]  # what is missing, in words
    warnings: tuple[str, ...]  # what is wrong although everything is answered
