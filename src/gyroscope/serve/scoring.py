"""From rows to predictions and their answer: pure, so that any thread may run it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from gyroscope.bundle.base import Contributions, Matrix, Vector
from gyroscope.bundle.bundle import Bundle
from gyroscope.bundle.class_scorers import ClassContributions, Integers
from gyroscope.bundle.explanation import in_probability
from gyroscope.bundle.links import Link
from gyroscope.data.codec import label_text
from gyroscope.errors import FieldProblem, RequestError, RowError
from gyroscope.model import Prediction, Value
from gyroscope.serve.answers import (
    FeatureContribution,
    ManyPredictions,
    OnePrediction,
    RowPrediction,
)
from gyroscope.serve.champions import Champion
from gyroscope.serve.ids import time_sorted_ids
from gyroscope.serve.requests import PredictRequest

Encode = Callable[[OnePrediction | ManyPredictions], bytes]

CONTRIBUTIONS_OF_ONE_ROW = 3  # given unless the request says otherwise


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions to put on record, and the answer to send once they are."""

    predictions: list[Prediction]
    answer: bytes


class _Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why each row got its margin."""

    values: Matrix  # float64[n, p], contributions
    bases: list[float]  # of each row
    margins: list[float]
    classes: list[str]  # that each row is explained for; empty unless there are several
    order: np.ndarray  # intp[n, p]: features of each row by absolute contribution, largest first
    k: int  # how many to list
    sentences: list[str]  # on each row; empty if not asked for


class _Rows(msgspec.Struct, frozen=True):
    """Encoded rows and what was made of them."""

    X: Matrix
    margins: Vector
    scores: Vector


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
    champion: Champion,
    request: PredictRequest,
    k: int,
    arrival: datetime,
    *,
    ids: Sequence[str] | None = None,
    encode: Encode = msgspec.json.encode,
) -> Scored:
    """Score all rows of a request by one champion, and list ``k`` contributions of each.

    ``arrival``, UTC, is the event time of rows that do not bring their own; ``ids`` are those of
    the predictions, new ones if not given.

    Raises:
        RowError: names every field of every row that breaks the contract.
    """
    bundle = champion.bundle
    X = _encoded(bundle, request)
    with np.errstate(over="ignore", invalid="ignore"):  # looked for below
        margins = bundle.margins(X)
        scores = bundle.link.probability(margins)
        explain = _explain_classes if bundle.contract.classes else _explain
        explanation = explain(bundle, request, _Rows(X, margins, scores), k) if k else None
    _check_finite(margins, explanation)
    ids = time_sorted_ids(len(request.rows)) if ids is None else ids
    predictions = _predictions(champion, request.rows, ids, scores, arrival)
    build = _one_answer if request.single else _many_answers
    answer = build(champion, request.rows, predictions, explanation)
    return Scored(predictions=predictions, answer=encode(answer))


def explanation_of(answer: OnePrediction | ManyPredictions) -> OnePrediction | ManyPredictions:
    """The answer without prediction ids, for rows that are not on record."""
    if isinstance(answer, OnePrediction):
        return msgspec.structs.replace(answer, prediction_id=UNSET)
    bare = tuple(msgspec.structs.replace(row, prediction_id=UNSET) for row in answer.predictions)
    return msgspec.structs.replace(answer, predictions=bare)


def _encoded(bundle: Bundle, request: PredictRequest) -> Matrix:
    """The rows as the model sees them; raises RowError with all that is wrong with any of them."""
    try:
        X = bundle.encoder.encode_rows(request.rows)
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


def _check_finite(margins: Vector, explanation: _Explanation | None) -> None:
    """Refuse rows whose numbers are so large that the score overflows."""
    every = np.isfinite(margins)
    if every.all() and (explanation is None or np.isfinite(explanation.values).all()):
        return
    finite = np.asarray(every.reshape(len(margins), -1).all(axis=1))
    if explanation is not None:
        finite &= np.isfinite(explanation.values).all(axis=1)
    raise RowError(
        [
            FieldProblem(
                row=row,
                field="row",
                given="numbers so large that the score overflows",
                expected="numbers of the size seen in training",
            )
            for row in np.flatnonzero(~finite).tolist()
        ]
    )


def _predictions(
    champion: Champion,
    rows: Sequence[dict[str, Value]],
    ids: Sequence[str],
    scores: Vector,
    arrival: datetime,
) -> list[Prediction]:
    encoder, of_rows = champion.bundle.encoder, scores.tolist()
    if champion.bundle.contract.classes:
        of_rows = list(map(tuple, of_rows))
    return [
        Prediction(
            id=prediction_id,
            version=champion.version,
            time=time or arrival,
            arrival=arrival,
            columns=encoder.logged_columns,
            row=encoder.logged(row),
            score=score,
            entity=entity,
        )
        for prediction_id, row, time, entity, score in zip(
            ids,
            rows,
            encoder.event_times(rows),
            encoder.entities(rows),
            of_rows,
            strict=True,
        )
    ]


def _explain(bundle: Bundle, request: PredictRequest, rows: _Rows, k: int) -> _Explanation:
    """Why each row got its one margin."""
    assert isinstance(bundle.link, Link)
    X, margins, scores = rows.X, rows.margins, rows.scores
    found = bundle.contributions(X)
    sentences = []
    if request.sentence:
        base = float(bundle.link.probability(np.array([found.base]))[0])
        of_rows = zip(request.rows, X, found.values, scores.tolist(), strict=True)
        sentences = [
            bundle.wording.sentence(row, x, values, base=base, score=score)
            for row, x, values, score in of_rows
        ]
    if request.space == "probability":
        found = in_probability(found, margins, bundle.link)
    return _Explanation(
        values=found.values,
        bases=[found.base] * len(X),
        margins=margins.tolist(),
        classes=[],
        order=_by_size(found),
        k=k,
        sentences=sentences,
    )


def _explain_classes(bundle: Bundle, request: PredictRequest, given: _Rows, k: int) -> _Explanation:
    """Why each row got the margin of one class: the one asked for, or the most probable."""
    X, margins, scores = given.X, given.margins, given.scores
    classes, rows = scores.argmax(axis=1), np.arange(len(X))
    if request.of_class is not None:
        classes[:] = _class_number(bundle, request.of_class)
    found = bundle.class_contributions(X, classes, space=request.space)
    names = [bundle.contract.classes[c] for c in classes.tolist()]
    sentences = []
    if request.sentence:
        of_rows = zip(request.rows, X, found.values, scores[rows, classes], strict=True)
        sentences = [
            bundle.wording.sentence(row, x, values, base=base, score=float(score), of_class=name)
            for (row, x, values, score), name, base in zip(
                of_rows, names, bundle.class_bases[classes].tolist(), strict=True
            )
        ]
    return _Explanation(
        values=found.values,
        bases=found.base.tolist(),
        margins=margins[rows, classes].tolist(),
        classes=names,
        order=_by_size(found),
        k=k,
        sentences=sentences,
    )


def _by_size(contributions: Contributions | ClassContributions) -> Integers:
    """The features of each row by absolute contribution, largest first, ``intp[n, p]``."""
    order: Integers = np.argsort(-np.abs(contributions.values), axis=1, kind="stable")
    return order


def _one_answer(
    champion: Champion,
    rows: Sequence[dict[str, Value]],
    predictions: Sequence[Prediction],
    explanation: _Explanation | None,
) -> OnePrediction:
    bundle, prediction = champion.bundle, predictions[0]
    listed, rest = _listed(champion.features, rows[0], explanation, 0)
    return OnePrediction(
        model=champion.deployed.model,
        version=champion.version,
        prediction_id=prediction.id,
        time=prediction.time,
        **_outcome(bundle, prediction.score),
        threshold=_threshold(bundle),
        explained=_explained(explanation, 0),
        margin=UNSET if explanation is None else explanation.margins[0],
        base=UNSET if explanation is None else explanation.bases[0],
        contributions=listed,
        rest=rest,
        sentence=_sentence(explanation, 0),
    )


def _many_answers(
    champion: Champion,
    rows: Sequence[dict[str, Value]],
    predictions: Sequence[Prediction],
    explanation: _Explanation | None,
) -> ManyPredictions:
    bundle = champion.bundle
    of_rows = explanation is not None and bool(explanation.classes)  # bases
    answers = []
    for i, prediction in enumerate(predictions):
        listed, rest = _listed(champion.features, rows[i], explanation, i)
        answers.append(
            RowPrediction(
                prediction_id=prediction.id,
                time=prediction.time,
                **_outcome(bundle, prediction.score),
                explained=_explained(explanation, i),
                margin=UNSET if explanation is None else explanation.margins[i],
                base=explanation.bases[i] if explanation is not None and of_rows else UNSET,
                contributions=listed,
                rest=rest,
                sentence=_sentence(explanation, i),
            )
        )
    return ManyPredictions(
        model=champion.deployed.model,
        version=champion.version,
        threshold=_threshold(bundle),
        base=UNSET if explanation is None or of_rows else explanation.bases[0],
        predictions=tuple(answers),
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


def _threshold(bundle: Bundle) -> float | UnsetType:
    threshold = bundle.manifest.threshold
    return UNSET if threshold is None else threshold


def _explained(explanation: _Explanation | None, i: int) -> str | UnsetType:
    """The class that row ``i`` is explained for, if there are several."""
    if explanation is None or not explanation.classes:
        return UNSET
    return explanation.classes[i]


def _listed(
    features: Sequence[str], row: dict[str, Value], explanation: _Explanation | None, i: int
) -> tuple[tuple[FeatureContribution, ...] | UnsetType, float | UnsetType]:
    """The largest contributions to the margin of row ``i``, and the sum of the others."""
    if explanation is None:
        return UNSET, UNSET
    values = explanation.values[i].tolist()
    order = explanation.order[i].tolist()
    listed = tuple(
        FeatureContribution(feature=features[j], value=row[features[j]], contribution=values[j])
        for j in order[: explanation.k]
    )
    return listed, math.fsum(values[j] for j in order[explanation.k :])


def _sentence(explanation: _Explanation | None, i: int) -> str | UnsetType:
    if explanation is None or not explanation.sentences:
        return UNSET
    return explanation.sentences[i]
