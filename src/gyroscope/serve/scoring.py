"""From rows to predictions and their answer: pure, so that any thread may run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
from msgspec import UNSET

from gyroscope.bundle.base import Matrix
from gyroscope.bundle.bundle import Bundle
from gyroscope.data.codec import label_text
from gyroscope.data.encoder import RowNumbers
from gyroscope.data.plain_rows import PlainRows
from gyroscope.errors import FieldProblem, RequestError, RowError
from gyroscope.model import Prediction, PredictionBatch
from gyroscope.serve.answering import Found, many_answers, one_answer, sentences_on
from gyroscope.serve.answers import ManyPredictions, OnePrediction, RowPrediction
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
    sentences = sentences_on(champion.bundle, asked.request, numbers, places)
    found = Found(numbers=numbers, places=places, sentences=sentences)
    if asked.request.single:
        prediction = _prediction(champion, asked, numbers.scores[first])
        answer = one_answer(champion, asked.k, prediction, found)
        return _Part(predictions=[prediction], answer=answer)
    predictions = _predictions(champion, asked, numbers.scores[found.places])
    answers = many_answers(champion, asked.k, predictions, found)
    return _Part(predictions=predictions, answer=answers)


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
