"""The ASGI application: one way in and out for every request."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import msgspec
from starlette.types import Receive, Scope, Send

from gyroscope.errors import LogError, NotFoundError, RequestError, RowError
from gyroscope.serve.champions import ModelTable
from gyroscope.serve.control import control_app
from gyroscope.serve.endpoints import Endpoints
from gyroscope.serve.guard import LOOPBACK_ONLY, Guard
from gyroscope.serve.http import (
    DEFAULT_LIMITS,
    Answer,
    ClientGoneError,
    Limits,
    Reply,
    check_content_type,
    error_answer,
    fault_answer,
    has_body,
    read_body,
    request_id_of,
)
from gyroscope.serve.logs import ServerLogs, Spooling
from gyroscope.serve.watch import Watch

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("gyroscope.access")

Endpoint = Callable[[str, bytes], Awaitable[bytes]]


def create_app(
    state: Path,
    models: Sequence[str] | None = None,
    *,
    limits: Limits = DEFAULT_LIMITS,
    guard: Guard = LOOPBACK_ONLY,
    access_log: bool = False,
    trusted_types: Sequence[str] = (),
    spooling: Spooling | None = None,
) -> Application:
    """The ASGI application that serves what is deployed under the folder ``state``.

    ``models`` are the names to serve; None serves every model that is or will be deployed there.
    ``trusted_types`` may be built beside those of scikit-learn when a bundle is loaded. With
    ``access_log`` one line of JSON for each request goes to the logger ``gyroscope.access``.
    Without ``spooling`` requests are refused while the disk of the log takes nothing.

    Raises:
        UsageError: a name that no model can have.
    """
    return Application(
        state,
        models,
        limits=limits,
        guard=guard,
        access_log=access_log,
        trusted_types=trusted_types,
        spooling=spooling,
    )


class Application:
    """Predictions and labels as plain ASGI; everything that only reads through FastAPI."""

    def __init__(
        self,
        state: Path,
        models: Sequence[str] | None,
        *,
        limits: Limits,
        guard: Guard,
        access_log: bool,
        trusted_types: Sequence[str],
        spooling: Spooling | None,
    ) -> None:
        self.state = state
        self.models = ModelTable(state, models, trusted_types)
        self._logs = ServerLogs(state, spooling)
        self.watch = Watch(self.models)
        self._limits = limits
        self._guard = guard
        self._access_log = access_log
        self._endpoints = Endpoints(self.models, self._logs, limits)
        self._writing: dict[str, Endpoint] = {
            "predict": self._endpoints.predict,
            "labels": self._endpoints.label,
        }
        self._control = control_app(self.models, self._logs, self.watch, limits)

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
        await self.watch.stop()
        await self._logs.close()
        self._endpoints.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = request_id_of(headers)
        reply = Reply(send, request_id)
        try:
            await self._answer(scope, headers, request_id, receive, reply)
        except ClientGoneError:
            pass  # nobody is left to answer
        except Exception as error:  # noqa: BLE001  the edge: every client gets an answer in shape
            _log_fault(error, request_id)
            if reply.status == 0:
                await reply.answer(fault_answer(request_id))
        if self._access_log:
            _log_access(scope, reply.status, request_id, time.perf_counter() - began)

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
            self._guard.check(scope["path"], headers)
            route = self._writing_route(scope["path"])
            if route is None:
                scope.setdefault("state", {})["request_id"] = request_id
                await self._control(scope, receive, reply)
                return
            endpoint, model = route
            self._check(scope["method"], model, headers)
            body = await read_body(receive, headers, self._limits)
            unread = False
            answer = Answer(status=200, body=await endpoint(model, body))
        except (RequestError, RowError, LogError, NotFoundError) as error:
            if isinstance(error, LogError):
                logger.error("request %s: %s", request_id, error)
            answer = error_answer(error, request_id)
        await reply.answer(answer, close=unread)

    def _writing_route(self, path: str) -> tuple[Endpoint, str] | None:
        """The endpoint and model of ``/v1/models/{model}/{predict or labels}``."""
        match path.split("/"):
            case ["", "v1", "models", model, deed] if deed in self._writing:
                return self._writing[deed], model
        return None

    def _check(self, method: str, model: str, headers: dict[bytes, bytes]) -> None:
        """Refuse what can be refused before the body is read."""
        if method != "POST":
            raise RequestError(405, f"method {method} is not possible here, use POST")
        self.models[model]
        check_content_type(headers)


def _log_fault(error: Exception, request_id: str) -> None:
    """Log where it happened, without the message: that may quote values of a row."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("request %s failed with %s at\n%s", request_id, type(error).__name__, where)


def _log_access(scope: Scope, status: int, request_id: str, seconds: float) -> None:
    line = {
        "time": time.time(),
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "milliseconds": round(seconds * 1000, 3),
        "request_id": request_id,
    }
    access_logger.info("%s", msgspec.json.encode(line).decode())
