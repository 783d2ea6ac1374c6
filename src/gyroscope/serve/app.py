"""The ASGI application: one way in and out for every request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from pathlib import Path

import msgspec
from starlette.types import Receive, Scope, Send

from gyroscope.errors import LogError, NotFoundError, RequestError, RowError
from gyroscope.serve.champions import ModelTable
from gyroscope.serve.claims import Claims
from gyroscope.serve.direct import Direct
from gyroscope.serve.endpoints import BATCH_KINDS, Endpoints
from gyroscope.serve.faults import answer_for
from gyroscope.serve.guard import LOOPBACK_ONLY, OPEN_PATHS, Guard
from gyroscope.serve.http import (
    DEFAULT_LIMITS,
    EXCHANGE,
    JSON,
    Answer,
    Call,
    ClientGoneError,
    Limits,
    MethodError,
    Reply,
    check_content_type,
    check_given_once,
    has_body,
    pass_over_body,
    read_body,
    request_id_of,
)
from gyroscope.serve.lazy_control import LazyControl
from gyroscope.serve.logs import ServerLogs, Spooling
from gyroscope.serve.watch import Watch, health

access_logger = logging.getLogger("gyroscope.access")


class Route(msgspec.Struct, frozen=True):
    """A route of a model that computes."""

    endpoint: Callable[[Call], Awaitable[Answer]]
    kinds: tuple[str, ...] = (JSON,)  # content types that it reads


class Application:
    """Predictions, labels and health as plain ASGI; everything else that reads through FastAPI.

    Args:
        state: the folder under which models are deployed.
        models: names to serve; None serves every model that is or will be deployed there.
        limits: what one request may ask for.
        guard: who may ask.
        access_log: whether one line of JSON for each request goes to ``gyroscope.access``.
        trusted_types: may be built beside those of scikit-learn when a bundle is loaded.
        spooling: without it requests are refused while the disk of the log takes nothing.

    Raises:
        UsageError: a name that no model can have.
    """

    def __init__(
        self,
        state: Path,
        models: Sequence[str] | None = None,
        *,
        limits: Limits = DEFAULT_LIMITS,
        guard: Guard = LOOPBACK_ONLY,
        access_log: bool = False,
        trusted_types: Sequence[str] = (),
        spooling: Spooling | None = None,
    ) -> None:
        self.state = state
        self.models = ModelTable(state, models, trusted_types)
        self._logs = ServerLogs(state, spooling)
        self.watch = Watch(self.models)
        self._limits = limits
        self._guard = guard
        self._access_log = access_log
        claims = Claims(state, None if spooling is None else spooling.root)
        self._endpoints = Endpoints(self.models, self._logs, claims, limits)
        self._routes = {
            "predict": Route(self._endpoints.predict),
            "predict-batch": Route(self._endpoints.predict_batch, BATCH_KINDS),
            "explain": Route(self._endpoints.explain),
            "labels": Route(self._endpoints.label),
        }
        note = _log_access if access_log else None
        # What the server asks before it begins a task.
        self.direct = Direct(
            self.models, self._logs, guard, self._endpoints.lane, limits=limits, note=note
        )
        self._control = LazyControl(self.models, limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or start and stop with the server."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await self.watch.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._control.stop()
        await self.watch.stop()
        await self._logs.close()
        self._endpoints.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = request_id_of(headers)
        reply = Reply(send, request_id, scope.get("extensions", {}).get(EXCHANGE))
        try:
            await self._answer(scope, headers, request_id, receive, reply)
        except (ClientGoneError, asyncio.CancelledError):
            pass  # nobody is left to answer: the server ended it and has told the client
        except Exception as error:  # noqa: BLE001  the edge: every client gets an answer in shape
            answer = answer_for(error, request_id)
            if reply.status == 0:
                await reply.answer(answer)
        if self._access_log:
            _log_access(scope, began, request_id, reply.status)

    async def _answer(
        self,
        scope: Scope,
        headers: dict[bytes, bytes],
        request_id: str,
        receive: Receive,
        reply: Reply,
    ) -> None:
        unread = has_body(headers)
        try:
            check_given_once(scope["headers"])
            self._guard.check(scope["path"], headers)
            if scope["path"] in OPEN_PATHS:
                await reply.answer(await self._health(scope), close=unread)
                return
            route, model = self._route(scope["path"])
            if route is None:
                scope.setdefault("state", {})["request_id"] = request_id
                await self._control(scope, receive, reply)
                return
            _check_method(scope["method"], "POST")
            self.models[model]
            kind = check_content_type(headers, route.kinds)
            body = await read_body(receive, headers, self._limits, reply.exchange)
            unread = False
            call = Call(
                model=model,
                headers=headers,
                kind=kind,
                query=scope["query_string"],
                body=body,
                exchange=reply.exchange,
            )
            answer = await route.endpoint(call)
        except (RequestError, RowError, LogError, NotFoundError) as error:
            answer = answer_for(error, request_id)
            if unread and answer.status != HTTPStatus.REQUEST_TIMEOUT:
                await pass_over_body(receive, headers, self._limits)
        await reply.answer(answer, close=unread)

    async def _health(self, scope: Scope) -> Answer:
        _check_method(scope["method"], "GET", "HEAD")
        return await health(scope["path"], self.models, self._logs, self.watch)

    def _route(self, path: str) -> tuple[Route | None, str]:
        """The route and model of ``/v1/models/{model}/{deed}``; no route for all other paths."""
        match path.split("/"):
            case ["", "v1", "models", model, deed]:
                return self._routes.get(deed), model
        return None, ""


create_app = Application  # the usual name of what makes an ASGI application


def _check_method(given: str, *allowed: str) -> None:
    if given not in allowed:
        raise MethodError(given, ", ".join(allowed))


def _log_access(scope: Scope, began: float, request_id: str, status: int) -> None:
    """A line for a request that began at a time of the performance counter."""
    line = {
        "time": time.time(),
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "milliseconds": round((time.perf_counter() - began) * 1000, 3),
        "request_id": request_id,
    }
    access_logger.info("%s", msgspec.json.encode(line).decode())
