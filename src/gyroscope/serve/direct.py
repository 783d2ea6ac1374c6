"""Requests for one row, answered by callbacks: a task for each costs more than its score does.

Nearly all requests ask for the prediction of one row, and have arrived whole when they are looked
at. Those that are ready together are scored together and written to the log together. A request
that is anything else, or that is to be refused, is left to the application, which reads it anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from gyroscope.errors import RequestError
from gyroscope.serve.champions import ModelTable
from gyroscope.serve.faults import answer_for
from gyroscope.serve.guard import Guard
from gyroscope.serve.http import (
    IDEMPOTENCY_KEY,
    JSON,
    REQUEST_ID,
    Answer,
    Limits,
    Reply,
    WholeExchange,
    check_content_type,
    check_given_once,
    request_id_of,
    whole_success,
)
from gyroscope.serve.lane import Lane, Place
from gyroscope.serve.logs import ModelLog, ServerLogs
from gyroscope.serve.requests import predict_request
from gyroscope.serve.scoring import OneRow, answer_to, contributions_wanted, one_row

_BEFORE, _AFTER = "/v1/models/", "/predict"  # the name of a model
_LONGEST_HEAD, _MOST_HEADS = 2048, 1024  # bytes; heads that are kept
_MOST_BYTES = 100_000  # of a body, whatever the limits are; what is larger takes long to read
# Nearly all batches say so at once. They would be read for nothing, and once more by who answers.
_ROWS, _BEGINNING = b'"rows"', 64  # bytes

AccessLog = Callable[[Scope, float, str, int], None]  # when it began, request id, status


class DirectExchange(WholeExchange, Protocol):
    """What the server lends to requests that are answered without a task."""

    def peek(self) -> bytes | None:
        """The body, which stays where it is; None unless all of it has arrived."""
        ...

    def hand_over(self, app: ASGIApp) -> None:
        """Have a task answer after all, by the messages of ASGI."""
        ...


class Admitted(NamedTuple):
    """What the head of a request says that may be answered directly."""

    model: str
    request_id: str | None  # None: one is made


class KnownHead(NamedTuple):
    """A head that was admitted, and what was read in it."""

    scope: Scope
    length: int  # of the body, in bytes
    admitted: Admitted


class Direct:
    """Takes requests for one row.

    ``note`` is told of each answer, if there is one.
    """

    def __init__(
        self,
        models: ModelTable,
        logs: ServerLogs,
        guard: Guard,
        lane: Lane,
        *,
        limits: Limits,
        note: AccessLog | None = None,
    ) -> None:
        self._models, self._logs, self._guard, self._lane = models, logs, guard, lane
        self._most_bytes = min(_MOST_BYTES, limits.body_bytes)
        self._note = note
        self._heads: dict[bytes, KnownHead] = {}

    def known(self, head: bytes) -> KnownHead | None:
        """What was read in the same head before, byte for byte.

        Clients say the same each time, but for the length of the body: it costs more to parse than
        the score does.
        """
        return self._heads.get(head)

    def remember(self, head: bytes, known: KnownHead) -> None:
        """Keep a head that was admitted, if it may come again."""
        if len(head) > _LONGEST_HEAD or known.admitted.request_id is not None:
            return
        if len(self._heads) >= _MOST_HEADS:
            self._heads.clear()
        self._heads[head] = known

    def admit(self, scope: Scope) -> Admitted | None:
        """Look at the head of a request; None if it has to go the ordinary way.

        The same head is answered in the same way each time.
        """
        path: str = scope["path"]
        if not (path.startswith(_BEFORE) and path.endswith(_AFTER)) or scope["method"] != "POST":
            return None
        headers = dict(scope["headers"])
        if IDEMPOTENCY_KEY in headers:
            return None
        try:
            check_given_once(scope["headers"])
            self._guard.check(path, headers)
            check_content_type(headers, (JSON,))
        except RequestError:
            return None
        request_id = request_id_of(headers) if REQUEST_ID in headers else None
        return Admitted(path[len(_BEFORE) : -len(_AFTER)], request_id)

    def take(self, admitted: Admitted, scope: Scope, exchange: DirectExchange) -> bool:
        """Take charge of a request; False if it has to go the ordinary way."""
        body = exchange.peek()
        if body is None or len(body) > self._most_bytes or _ROWS in body[:_BEGINNING]:
            return False
        began = time.perf_counter()
        try:
            serving = self._models[admitted.model].answering()
            request = predict_request(body, 1, serving.champion.reader)
            if not request.single or not serving.champion.bundle.explains:
                return False
            k = contributions_wanted(serving.champion, request)
            one = one_row(serving, request, k, datetime.now(UTC))
            log = self._logs.of(admitted.model)
        except Exception:  # noqa: BLE001  it is met again on the ordinary way, where it is answered
            return False
        passage = _Passage(one, log, exchange, admitted.request_id)
        if self._note is not None:
            passage.note = partial(self._note, scope, began)
        self._lane.add(one.version.bundle, one.row, one.wish, passage.scored)
        return True


class _Passage:
    """One request from its score to its answer."""

    __slots__ = ("_body", "_exchange", "_id", "_log", "_one", "note")

    def __init__(
        self, one: OneRow, log: ModelLog, exchange: DirectExchange, request_id: str | None
    ) -> None:
        self._one, self._log, self._exchange = one, log, exchange
        self._id = one.prediction_id if request_id is None else request_id
        self._body = b""
        self.note: Callable[[str, int], None] | None = None

    def scored(self, outcome: Place | Exception) -> None:
        """Put on record what the lane found."""
        if isinstance(outcome, Exception):
            self._answer(answer_for(outcome, self._id))
            return
        try:
            scored = answer_to(self._one, *outcome)
            self._body = scored.answer
            self._log.hand_in(scored.predictions, self.written)
        except Exception as error:  # noqa: BLE001  the edge: every client gets an answer in shape
            self._answer(answer_for(error, self._id))

    def written(self, error: Exception | None) -> None:
        """Answer, now that it is on record."""
        if error is not None:
            self._answer(answer_for(error, self._id))
        elif not self._exchange.answer(whole_success(self._body, self._id.encode())):
            self._answer(Answer(status=200, body=self._body))
        elif self.note is not None:
            self.note(self._id, 200)

    def _answer(self, answer: Answer) -> None:
        self._exchange.hand_over(partial(_send, answer, self._id))
        if self.note is not None:
            self.note(self._id, answer.status)


async def _send(answer: Answer, request_id: str, _: Scope, receive: Receive, send: Send) -> None:
    await Reply(send, request_id).answer(answer)
