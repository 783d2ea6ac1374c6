"""From the numbers of rows to what is answered: pure, so that any thread may run it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from gyroscope.bundle.base import Contributions
from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.class_scorers import ClassContributions
from gyroscope.model import Prediction, PredictionBatch, Value
from gyroscope.serve.answers import (
    FeatureContribution,
    ManyPredictions,
    OnePrediction,
    RowPrediction,
)
from gyroscope.serve.champions import Champion
from gyroscope.serve.numbers import Numbers
from gyroscope.serve.requests import PredictRequest


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer tells of."""

    numbers: Numbers
    places: slice  # of the numbers: rows of the answer
    sentences: list[str]  # on each row; empty if not asked for


def one_answer(champion: Champion, k: int, prediction: Prediction, found: Found) -> OnePrediction:
    """The answer to one row, with its ``k`` largest contributions."""
    bundle, numbers, i = champion.bundle, found.numbers, found.places.start
    contributions: Any = UNSET
    if k:
        order, sizes = numbers.order[i], numbers.values[i]
        contributions = _largest(champion.features, k, prediction.row, order, sizes)
    return OnePrediction(
        model=champion.deployed.model,
        version=champion.version,
        prediction_id=prediction.id,
        time=prediction.time,
        **_outcome(bundle, prediction.score),
        threshold=_threshold(bundle),
        explained=_explained(bundle, numbers, i),
        margin=numbers.margins[i] if k else UNSET,
        base=numbers.bases[i] if k else UNSET,
        contributions=contributions,
        rest=math.fsum(numbers.values[i][k:]) if k else UNSET,
        sentence=found.sentences[0] if found.sentences else UNSET,
    )


def many_answers(
    champion: Champion, k: int, made: PredictionBatch, found: Found
) -> ManyPredictions:
    """The answer to many rows, put together from columns; those that none has are unset."""
    bundle, numbers, places = champion.bundle, found.numbers, found.places
    unset: list[Any] = [UNSET] * len(made)
    classes = bundle.contract.classes
    listed, rests = unset, unset
    if k:
        order, sizes = numbers.order[places], numbers.values[places]
        largest = partial(_largest, champion.features, k)
        listed = list(map(largest, made.rows, order, sizes))
        rests = [math.fsum(of_row[k:]) for of_row in sizes]
    of_rows = zip(
        made.ids,
        made.times,
        *_outcomes(bundle, made.scores),
        [classes[c] for c in numbers.classes[places]] or unset,
        numbers.margins[places] if k else unset,
        numbers.bases[places] if numbers.classes else unset,
        listed,
        rests,
        found.sentences or unset,
        strict=True,
    )
    predictions = tuple(
        RowPrediction(
            prediction_id=prediction_id,
            time=time,
            probability=probability,
            label=label,
            probabilities=probabilities,
            value=value,
            explained=explained,
            margin=margin,
            base=base,
            contributions=contributions,
            rest=rest,
            sentence=sentence,
        )
        for (
            prediction_id,
            time,
            probability,
            label,
            probabilities,
            value,
            explained,
            margin,
            base,
            contributions,
            rest,
            sentence,
        ) in of_rows
    )
    return ManyPredictions(
        model=champion.deployed.model,
        version=champion.version,
        threshold=_threshold(bundle),
        base=numbers.bases[places.start] if k and not numbers.classes else UNSET,
        predictions=predictions,
    )


def explanation_of(answer: OnePrediction | ManyPredictions) -> OnePrediction | ManyPredictions:
    """The answer without prediction ids, for rows that are not on record."""
    if isinstance(answer, OnePrediction):
        return msgspec.structs.replace(answer, prediction_id=UNSET)
    bare = tuple(msgspec.structs.replace(row, prediction_id=UNSET) for row in answer.predictions)
    return msgspec.structs.replace(answer, predictions=bare)


def sentences_on(
    bundle: Bundle, request: PredictRequest, numbers: Numbers, places: slice
) -> list[str]:
    """A sentence on each row, if they were asked for."""
    contributions = numbers.contributions
    if not request.sentence or contributions is None:
        return []
    X, explained = numbers.X[places], contributions.values[places]
    if numbers.classes:
        # The margin of one class says little by itself: those of all others may rise as well.
        classes = np.array(numbers.classes[places], dtype=np.intp)
        explained = bundle.class_contributions(X, classes, space="probability").values
    sentences = []
    of_rows = zip(request.rows, X, explained, strict=True)
    for i, (row, x, values) in enumerate(of_rows, start=places.start):
        base, score, of_class = _worded(bundle, contributions, numbers, i)
        sentences.append(
            bundle.wording.sentence(row, x, values, base=base, score=score, of_class=of_class)
        )
    return sentences


def _worded(
    bundle: Bundle, contributions: Contributions | ClassContributions, numbers: Numbers, i: int
) -> tuple[float, float, str | None]:
    """What the sentence on a row speaks of: the score before and after, and of which class."""
    score = numbers.scores[i]
    if isinstance(score, tuple):
        k = numbers.classes[i]
        return float(bundle.class_bases[k]), score[k], bundle.contract.classes[k]
    return float(bundle.link.probability(np.array([contributions.base]))[0]), score, None


def _outcome(bundle: Bundle, score: float | tuple[float, ...]) -> dict[str, Any]:
    """What a score says, as fields of the answer."""
    if isinstance(score, tuple):
        probabilities = dict(zip(bundle.contract.classes, score, strict=True))
        label = bundle.label(score)
        return {
            "probability": probabilities[label],
            "label": label,
            "probabilities": probabilities,
        }
    if bundle.contract.task == "regression":
        return {"value": score}
    return {"probability": score, "label": bundle.label(score)}


def _outcomes(bundle: Bundle, scores: Sequence[float | tuple[float, ...]]) -> list[Sequence[Any]]:
    """The same of many scores in columns: probability, label, probabilities and value."""
    unset = [UNSET] * len(scores)
    if bundle.contract.task == "binary":
        probabilities = cast(Sequence[float], scores)
        return [scores, bundle.labels(probabilities), unset, unset]
    outcomes = [_outcome(bundle, score) for score in scores]
    names = ("probability", "label", "probabilities", "value")
    return [[outcome.get(name, UNSET) for outcome in outcomes] for name in names]


def _threshold(bundle: Bundle) -> float | UnsetType:
    threshold = bundle.manifest.threshold
    return UNSET if threshold is None else threshold


def _explained(bundle: Bundle, numbers: Numbers, i: int) -> str | UnsetType:
    """The class that a row is explained for, if there are several."""
    return bundle.contract.classes[numbers.classes[i]] if numbers.classes else UNSET


def _largest(
    features: Sequence[str],
    k: int,
    row: Sequence[Value],
    order: Sequence[int],
    sizes: Sequence[float],
) -> tuple[FeatureContribution, ...]:
    """The ``k`` largest contributions to a row, which has the features first, as they were sent.

    ``sizes`` and whose they are, ``order``, begin with the largest.
    """
    largest = zip(order[:k], sizes, strict=False)
    return tuple([FeatureContribution(features[j], row[j], size) for j, size in largest])
