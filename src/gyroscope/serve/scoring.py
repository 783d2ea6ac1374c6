"""From rows to predictions and their answer: pure, so that any thread may run it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from gyroscope.bundle.base import Contributions, Matrix
from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.class_scorers import ClassContributions
from gyroscope.data.codec import label_text
from gyroscope.data.encoder import RowNumbers
from gyroscope.data.plain_rows import PlainRows
from gyroscope.errors import FieldProblem, RequestError, RowError
from gyroscope.model import Prediction, PredictionBatch, Value
from gyroscope.serve.answers import (
    FeatureContribution,
    ManyPredictions,
    OnePrediction,
    RowPrediction,
)
from gyroscope.serve.champions import Champion, Serving
from gyroscope.serve.ids import time_sorted_ids
from gyroscope.serve.numbers import Numbers, Wish, numbers_of
from gyroscope.serve.requests import PredictRequest

Encode = Callable[[OnePrediction | ManyPredictions], bytes]

CONTRIBUTIONS_OF_ONE_ROW = 3  # given unless the request says otherwise


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions to put on record, and the answer to send once they are."""

    predictions: Sequence[Prediction]
    answer: bytes


class _Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A request, or some rows of one."""

    request: PredictRequest
    ids: Sequence[str]  # of the predictions to make
    k: int  # contributions of each
    arrival: datetime

    def wish(self, bundle: Bundle) -> Wish | None:
        """What is to be explained; None if nothing is."""
        if not self.k:
            return None
        name = self.request.of_class
        of_class = None if name is None else _class_number(bundle, name)
        return Wish(self.request.space, of_class)

    def at(self, places: Sequence[int]) -> _Asked:
        """Only some of the rows."""
        rows = self.request.rows
        some = rows.take(places) if isinstance(rows, PlainRows) else [rows[i] for i in places]
        return msgspec.structs.replace(
            self,
            request=msgspec.structs.replace(self.request, rows=some),
            ids=[self.ids[i] for i in places],
        )


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one version predicted for some rows of a request."""

    predictions: Sequence[Prediction]
    answer: OnePrediction | ManyPredictions


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer tells of."""

    numbers: Numbers
    places: slice  # of the numbers: rows of the answer
    sentences: list[str]  # on each row; empty if not asked for


class OneRow(msgspec.Struct, frozen=True, kw_only=True):
    """A request for one row, sound and encoded, and who answers it."""

    version: Champion
    asked: _Asked
    row: RowNumbers

    @property
    def prediction_id(self) -> str:
        """The identifier of the prediction to make."""
        return self.asked.ids[0]

    @property
    def wish(self) -> Wish | None:
        """What is to be explained; None if nothing is."""
        return self.asked.wish(self.version.bundle)


def contributions_wanted(champion: Champion, request: PredictRequest) -> int:
    """How many contributions to list for each row.

    Raises:
        RequestError: status 422, more than there are features or fewer than none.
    """
    n_features = len(champion.features)
    _check_options(champion.bundle, request)
    if not champion.bundle.explains:
        return _none_wanted(request)
    if request.explain is None:
        usual = min(CONTRIBUTIONS_OF_ONE_ROW, n_features)
        return usual if request.single or request.sentence else 0
    if request.explain == "all":
        return n_features
    least = 1 if request.sentence else 0  # there is no sentence without contributions
    if not least <= request.explain <= n_features:
        expected = f"{least} to {n_features}, the number of features"
        problem = FieldProblem(field="explain", given="a number out of range", expected=expected)
        raise RequestError(422, "the request cannot be answered", [problem])
    return request.explain


def _check_options(bundle: Bundle, request: PredictRequest) -> None:
    """Raise RequestError if the request asks for what models of this task have not."""
    contract, problems = bundle.contract, []
    if request.of_class is not None and _class_number(bundle, request.of_class) is None:
        expected = f"one of {', '.join(contract.classes)}" if contract.classes else "nothing"
        problems.append(FieldProblem(field="class", given="another class", expected=expected))
    if contract.task == "regression" and request.space != "margin":
        given, expected = "another space", '"margin": a number has no probability'
        problems.append(FieldProblem(field="space", given=given, expected=expected))
    if problems:
        raise RequestError(422, "the request cannot be answered", problems)


def _class_number(bundle: Bundle, name: str) -> int | None:
    """The position of a class, in whichever spelling; None for no class of the model."""
    names = [label_text(known) for known in bundle.contract.classes]
    return names.index(label_text(name)) if label_text(name) in names else None


def _none_wanted(request: PredictRequest) -> int:
    """No contributions; raises RequestError if the request asks for some, or for a sentence."""
    if request.explain or request.sentence:
        problem = FieldProblem(
            field="explain" if request.explain else "sentence",
            given="a wish for an explanation",
            expected="nothing: this version is an estimator of the user's own, and has none",
        )
        raise RequestError(422, "the request cannot be answered", [problem])
    return 0


def score(
    serving: Serving,
    request: PredictRequest,
    k: int,
    arrival: datetime,
    *,
    ids: Sequence[str] | None = None,
    encode: Encode = msgspec.json.encode,
) -> Scored:
    """Score each row of a request by the version that serves it, with ``k`` contributions.

    A canary serves its share of the entities, or of the predictions for rows without one.
    ``arrival``, UTC, is the event time of rows that do not bring their own; ``ids`` are those of
    the predictions, new ones if not given.

    Raises:
        RowError: names every field of every row that breaks the contract.
    """
    ids = time_sorted_ids(len(request.rows)) if ids is None else ids
    asked = _Asked(request=request, ids=ids, k=k, arrival=arrival)
    chosen = _served_by_canary(serving, asked)
    if serving.canary is None or not any(chosen):
        part = _score(serving.champion, asked)
    elif all(chosen):
        part = _score(serving.canary.loaded, asked)
    else:
        part = _score_apart(serving.champion, serving.canary.loaded, asked, chosen)
    return Scored(predictions=part.predictions, answer=encode(part.answer))


def _served_by_canary(serving: Serving, asked: _Asked) -> list[bool]:
    """Which rows the canary serves; none of a request that has to be refused anyway."""
    if serving.canary is None or asked.request.problems:
        return [False] * len(asked.ids)
    entities = serving.champion.bundle.encoder.entities(asked.request.rows)
    of_rows = zip(asked.ids, entities, strict=True)
    return serving.canary.split.canary_serves(
        prediction_id if entity is None else entity for prediction_id, entity in of_rows
    )


def _score_apart(
    champion: Champion, canary: Champion, asked: _Asked, chosen: Sequence[bool]
) -> _Part:
    """Score some rows by the champion and the others by the canary, and put them in order."""
    predictions: dict[int, Prediction] = {}
    answers: dict[int, RowPrediction] = {}
    problems: list[FieldProblem] = []
    about: dict[bool, ManyPredictions] = {}
    for by_canary, version in ((False, champion), (True, canary)):
        places = [i for i, canarys in enumerate(chosen) if canarys is by_canary]
        try:
            part = _score(version, asked.at(places))
        except RowError as error:
            problems += [_at(places, problem) for problem in error.problems]
            continue
        assert isinstance(part.answer, ManyPredictions)  # one row is never apart
        about[by_canary] = part.answer
        predictions |= zip(places, part.predictions, strict=True)
        rows = part.answer.predictions
        answers |= zip(places, map(_named(part.answer), rows) if by_canary else rows, strict=True)
    if problems:
        raise RowError(sorted(problems, key=lambda problem: problem.row or 0))
    order = range(len(asked.ids))
    return _Part(
        predictions=[predictions[i] for i in order],
        answer=msgspec.structs.replace(about[False], predictions=tuple(answers[i] for i in order)),
    )


def _at(places: Sequence[int], problem: FieldProblem) -> FieldProblem:
    """A problem of a row of a part, with its place in the request."""
    row = None if problem.row is None else places[problem.row]
    return msgspec.structs.replace(problem, row=row)


def _named(answer: ManyPredictions) -> Callable[[RowPrediction], RowPrediction]:
    """Says of a row what the answer says of all of them."""
    return lambda row: msgspec.structs.replace(
        row,
        version=answer.version,
        threshold=answer.threshold,
        base=row.base if answer.base is UNSET else answer.base,
    )


def one_row(
    serving: Serving,
    request: PredictRequest,
    k: int,
    arrival: datetime,
    ids: Sequence[str] | None = None,
) -> OneRow:
    """Check and encode a request for one row, to be answered by :func:`answer_to`.

    Takes what :func:`score` takes, and raises what it raises.
    """
    ids = time_sorted_ids(1) if ids is None else ids
    asked = _Asked(request=request, ids=ids, k=k, arrival=arrival)
    version = serving.champion
    if serving.canary is not None and _served_by_canary(serving, asked)[0]:
        version = serving.canary.loaded
    return OneRow(version=version, asked=asked, row=_encoded_row(version.bundle, request))


def answer_to(
    one: OneRow, numbers: Numbers, i: int, encode: Encode = msgspec.json.encode
) -> Scored:
    """The prediction and answer for one row, from the numbers of row ``i``.

    Raises:
        RowError: the score overflows.
    """
    part = _part(one.version, one.asked, numbers, i)
    return Scored(predictions=part.predictions, answer=encode(part.answer))


def _score(champion: Champion, asked: _Asked) -> _Part:
    X = _encoded(champion.bundle, asked.request)
    numbers = numbers_of(champion.bundle, X, asked.wish(champion.bundle))
    return _part(champion, asked, numbers, 0)


def _part(champion: Champion, asked: _Asked, numbers: Numbers, first: int) -> _Part:
    """What a version predicts for rows whose numbers begin at ``first``."""
    places = slice(first, first + len(asked.ids))
    if numbers.overflow:
        _check_finite(range(first, places.stop), numbers.overflow)
    sentences = _sentences(champion.bundle, asked.request, numbers, places)
    found = _Found(numbers=numbers, places=places, sentences=sentences)
    if asked.request.single:
        prediction = _prediction(champion, asked, numbers.scores[first])
        answer = _one_answer(champion, asked.k, prediction, found)
        return _Part(predictions=[prediction], answer=answer)
    predictions = _predictions(champion, asked, numbers.scores[found.places])
    answers = _many_answers(champion, asked.k, predictions, found)
    return _Part(predictions=predictions, answer=answers)


def explanation_of(answer: OnePrediction | ManyPredictions) -> OnePrediction | ManyPredictions:
    """The answer without prediction ids, for rows that are not on record."""
    if isinstance(answer, OnePrediction):
        return msgspec.structs.replace(answer, prediction_id=UNSET)
    bare = tuple(msgspec.structs.replace(row, prediction_id=UNSET) for row in answer.predictions)
    return msgspec.structs.replace(answer, predictions=bare)


def _encoded(bundle: Bundle, request: PredictRequest) -> Matrix:
    """The rows as the model sees them; raises RowError with all that is wrong with any of them."""
    encoder, rows = bundle.encoder, request.rows
    try:
        if request.plain_for is encoder:
            X = encoder.encode_plain_rows(rows)
        else:
            X = encoder.encode_rows(list(rows))
    except RowError as error:
        named = {(problem.row, problem.field) for problem in request.problems}
        more = [
            p
            for p in error.problems
            if (p.row, p.field) not in named and (None, p.field) not in named
        ]
        raise RowError([*request.problems, *more]) from None
    if request.problems:
        raise RowError(request.problems)
    return X


def _encoded_row(bundle: Bundle, request: PredictRequest) -> RowNumbers:
    """The same of a request for one row."""
    if request.plain_for is bundle.encoder:
        return bundle.encoder.encode_plain_row(request.rows)
    row: RowNumbers = _encoded(bundle, request)[0]
    return row


def _check_finite(rows: range, overflow: Sequence[int]) -> None:
    """Refuse rows whose numbers are so large that the score overflows."""
    problems = [
        FieldProblem(
            row=row - rows.start,
            field="row",
            given="numbers so large that the score overflows",
            expected="numbers of the size seen in training",
        )
        for row in overflow
        if row in rows
    ]
    if problems:
        raise RowError(problems)


def _prediction(champion: Champion, asked: _Asked, score: float | tuple[float, ...]) -> Prediction:
    encoder, rows = champion.bundle.encoder, asked.request.rows
    return Prediction(
        id=asked.ids[0],
        version=champion.version,
        time=encoder.event_times(rows)[0] or asked.arrival,
        arrival=asked.arrival,
        columns=encoder.logged_columns,
        row=encoder.logged_rows(rows)[0],
        score=score,
        entity=encoder.entities(rows)[0],
    )


def _predictions(
    champion: Champion, asked: _Asked, scores: Sequence[float | tuple[float, ...]]
) -> PredictionBatch:
    encoder, rows = champion.bundle.encoder, asked.request.rows
    return PredictionBatch(
        ids=asked.ids,
        version=champion.version,
        times=[time or asked.arrival for time in encoder.event_times(rows)],
        arrival=asked.arrival,
        columns=encoder.logged_columns,
        rows=encoder.logged_rows(rows),
        scores=scores,
        entities=encoder.entities(rows),
    )


def _sentences(
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


def _one_answer(champion: Champion, k: int, prediction: Prediction, found: _Found) -> OnePrediction:
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


def _many_answers(
    champion: Champion, k: int, made: PredictionBatch, found: _Found
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
