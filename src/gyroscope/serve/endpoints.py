"""The routes that compute: predictions, explanations and labels."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from gyroscope.errors import FieldProblem, RequestError, RowError
from gyroscope.model import Label
from gyroscope.serve.answering import explanation_of
from gyroscope.serve.answers import LabelsAccepted, ManyPredictions, OnePrediction
from gyroscope.serve.arrow_answers import arrow_answer
from gyroscope.serve.champions import Champion, ModelTable, Serving
from gyroscope.serve.claims import Claim, Claims, claim_key
from gyroscope.serve.http import ARROW, JSON, PARQUET, Answer, Call, Limits, answer_type
from gyroscope.serve.lane import Lane
from gyroscope.serve.logs import ServerLogs
from gyroscope.serve.long_work import LongWork
from gyroscope.serve.numbers import Wish
from gyroscope.serve.pace import Pace
from gyroscope.serve.requests import (
    PredictRequest,
    label_request,
    predict_request,
    query_options,
)
from gyroscope.serve.scoring import (
    Encode,
    Scored,
    answer_to,
    contributions_wanted,
    one_row,
    score,
)
from gyroscope.serve.table_reader import TableReader

# What is done at once on the event loop takes a few milliseconds at most; the rest goes to a
# thread, so that other requests are answered meanwhile.
_BYTES_AT_ONCE = 100_000
_ROWS_AT_ONCE = 200
_THREADS = 2  # they compete with the event loop for the interpreter, so few
# Work expected to take longer is LongWork: some versions explain no more than ten rows a second,
# and nobody is to wait minutes for a thread since two others asked for thousands.
_VERY_LONG_S = 2.0
_FIRST_ROWS = 10  # scored apart to learn how long many rows of a version take

BATCH_KINDS = (JSON, ARROW, PARQUET)  # content types of a batch; it is answered in the first two

_T = TypeVar("_T")


class _Asked(msgspec.Struct, frozen=True):
    """A request, and what it is to be answered with."""

    call: Call
    serving: Serving
    arrival: datetime  # UTC
    encode: Encode = msgspec.json.encode


class Endpoints:
    """Answers predictions, explanations and labels from their bodies."""

    def __init__(
        self, models: ModelTable, logs: ServerLogs, claims: Claims, limits: Limits
    ) -> None:
        self._models, self._logs, self._claims, self._limits = models, logs, claims, limits
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="scoring")
        self._long = LongWork(_THREADS)
        self._tables = TableReader()
        self.lane, self._pace = Lane(self._threads), Pace()

    def close(self) -> None:
        """Give back threads and files."""
        self._threads.shutdown()
        self._long.close()
        self._tables.close()
        self._claims.close()

    async def predict(self, call: Call) -> Answer:
        """Score a row or rows, put them on record, and only then answer."""
        asked = _Asked(call, self._models[call.model].answering(), datetime.now(UTC))
        return await self._on_record(asked, await self._json_request(asked))

    async def predict_batch(self, call: Call) -> Answer:
        """The same for rows in JSON, or in a table; answered in the form asked for."""
        kind = answer_type(call.headers, BATCH_KINDS[:2])
        serving = self._models[call.model].answering()
        asked = _Asked(
            call, serving, datetime.now(UTC), msgspec.json.encode if kind == JSON else arrow_answer
        )
        options = query_options(call.query)
        if call.kind == JSON:
            request = await self._json_request(asked)
            request = msgspec.structs.replace(request, **options)
        else:
            request = await self._table_request(call, serving.champion, options)
        if request.single:
            raise RequestError(422, 'give "rows", a list of objects; /predict takes one "row"')
        return msgspec.structs.replace(await self._on_record(asked, request), kind=kind)

    async def explain(self, call: Call) -> Answer:
        """Score and explain, by all features unless asked for fewer; nothing goes on record.

        ``?version=2`` asks that version, which may also be the previous one or the challenger.
        """
        model = self._models[call.model]
        version = _version_in(call.query)
        serving = model.answering() if version is None else model.explaining(version)
        asked = _Asked(call, serving, datetime.now(UTC), _encode_explanation)
        request = await self._json_request(asked)
        if request.explain is None:
            request = msgspec.structs.replace(request, explain="all")
        return _answer(await self._score(asked, request))

    async def _json_request(self, asked: _Asked) -> PredictRequest:
        body, reader = asked.call.body, asked.serving.champion.reader
        large = len(body) > _BYTES_AT_ONCE
        return await self._run(large, partial(predict_request, body, self._limits.rows, reader))

    async def _table_request(
        self, call: Call, champion: Champion, options: dict[str, Any]
    ) -> PredictRequest:
        contract = champion.bundle.contract
        rows, problems = await self._tables.read(call.body, call.kind, contract, self._limits)
        return PredictRequest(rows=rows, single=False, problems=tuple(problems), **options)

    async def _on_record(self, asked: _Asked, request: PredictRequest) -> Answer:
        key = claim_key(asked.call.model, asked.call.headers)
        if key is not None:
            async with self._claims.turn(key):
                return await self._once(key, asked, request)
        scored = await self._score(asked, request)
        await self._logs.of(asked.call.model).append(scored.predictions)
        return _answer(scored)

    async def _once(self, key: bytes, asked: _Asked, request: PredictRequest) -> Answer:
        """Answer as the first request with this key was answered, or would have been."""
        log, digest = self._logs.of(asked.call.model), _digest(asked.call)
        held = await self._claims.held(key)
        if held is None:
            claim = _claim(key, digest, asked)
            scored = await self._score(asked, request, claim.ids(len(request.rows)))
            await self._claims.make(claim)  # before the record, whose ids follow from it
        else:
            if held.request != digest:
                raise RequestError(409, "this Idempotency-Key was used for another request")
            model = self._models[asked.call.model]
            serving = await self._run(True, partial(model.answering_as, held))
            asked = _Asked(asked.call, serving, held.arrival, asked.encode)
            scored = await self._score(asked, request, held.ids(len(request.rows)))
            if await log.known([scored.predictions[0].id]):
                return _answer(scored)
        await log.append(scored.predictions)
        return _answer(scored)

    async def _score(
        self, asked: _Asked, request: PredictRequest, ids: Sequence[str] | None = None
    ) -> Scored:
        k = contributions_wanted(asked.serving.champion, request)
        small = len(asked.call.body) <= _BYTES_AT_ONCE
        if request.single and small and asked.serving.champion.bundle.explains:
            one = one_row(asked.serving, request, k, asked.arrival, ids)
            numbers, i = await self.lane.numbers(one.version.bundle, one.row, one.wish)
            return answer_to(one, numbers, i, asked.encode)
        n, bundle, wish = len(request.rows), asked.serving.champion.bundle, Wish() if k else None
        most = self._pace.most_rows(bundle, wish)
        at_once = (
            small
            and bundle.explains  # of an estimator of the user's own nobody knows how long it takes
            and n <= _ROWS_AT_ONCE
            and most is not None
            and n <= most
            and asked.encode is not arrow_answer
        )
        work = partial(
            score, asked.serving, request, k, asked.arrival, ids=ids, encode=asked.encode
        )
        if at_once:
            scored, seconds = _timed(work)
        else:
            expected_s = await self._expected_s(asked, request, k)
            timed = partial(_timed, work)
            if expected_s > _VERY_LONG_S:
                scored, seconds = await self._long.run(timed, expected_s, asked.call.has_left)
            else:
                scored, seconds = await self._run(True, timed)
        self._pace.note(bundle, wish, n, seconds)
        return scored

    async def _expected_s(self, asked: _Asked, request: PredictRequest, k: int) -> float:
        """How many seconds the request is expected to take; 0 where nothing is known, or if it will
        be refused."""
        bundle, wish, n = asked.serving.champion.bundle, Wish() if k else None, len(request.rows)
        known_s = self._pace.seconds(bundle, wish, n)
        if known_s is None and n > _FIRST_ROWS:
            few = msgspec.structs.replace(request, rows=request.rows[:_FIRST_ROWS])
            try:
                work = partial(score, asked.serving, few, k, asked.arrival)
                _, seconds = await self._run(True, partial(_timed, work))
            except RowError:  # the request will be refused before anything is scored
                return 0.0
            self._pace.note(bundle, wish, _FIRST_ROWS, seconds)
            known_s = self._pace.seconds(bundle, wish, n)
        return known_s or 0.0

    async def label(self, call: Call) -> Answer:
        """Put labels on record; those for ids that no prediction has are named and not kept."""
        arrival = datetime.now(UTC)
        large = len(call.body) > _BYTES_AT_ONCE
        class_of = self._models[call.model].current().bundle.encoder.label
        given = await self._run(
            large, lambda: label_request(call.body, self._limits.rows, class_of)
        )
        log = self._logs.of(call.model)
        ids = list(dict.fromkeys(label.prediction_id for label in given))
        known = await log.known(ids)
        labels = [
            Label(
                prediction_id=label.prediction_id,
                label=label.label,
                time=label.time or arrival,
                arrival=arrival,
            )
            for label in given
            if label.prediction_id in known
        ]
        if labels:
            await log.append_labels(labels)
        unknown = tuple(prediction_id for prediction_id in ids if prediction_id not in known)
        accepted = LabelsAccepted(accepted=len(labels), unknown=unknown)
        return Answer(status=200, body=msgspec.json.encode(accepted))

    async def _run(self, in_thread: bool, work: Callable[[], _T]) -> _T:
        if not in_thread:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _timed(work: Callable[[], _T]) -> tuple[_T, float]:
    """What it gives, and the seconds that its thread worked for it."""
    began = time.thread_time()
    return work(), time.thread_time() - began


def _answer(scored: Scored) -> Answer:
    return Answer(status=200, body=scored.answer)


def _claim(key: bytes, digest: bytes, asked: _Asked) -> Claim:
    """The claim of a request that is answered for the first time."""
    champion, canary = asked.serving.champion, asked.serving.canary
    return Claim(
        key=key,
        request=digest,
        arrival=asked.arrival,
        version=champion.version,
        canary=None if canary is None else canary.loaded.version,
        percent=None if canary is None else canary.canary.percent,
        bundle=champion.deployed.bundle,
        canary_bundle=None if canary is None else canary.loaded.deployed.bundle,
    )


def _digest(call: Call) -> bytes:
    """What tells one request from another."""
    return hashlib.sha256(b"\0".join((call.kind.encode(), call.query, call.body))).digest()


def _encode_explanation(answer: OnePrediction | ManyPredictions) -> bytes:
    return msgspec.json.encode(explanation_of(answer))


def _version_in(query: bytes) -> int | None:
    """The number in a query such as ``version=3``; None if the query is empty.

    Raises:
        RequestError: status 422, it asks for anything else.
    """
    number = None
    for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if key != "version" or not (value.isdecimal() and value.isascii() and len(value) < 10):
            expected = "version=N, the number of a version"
            problem = FieldProblem(field=key[:40], given="another text", expected=expected)
            raise RequestError(422, "the query is not of the right form", [problem])
        number = int(value)
    return number
