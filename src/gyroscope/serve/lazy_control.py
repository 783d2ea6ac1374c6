"""The control routes, made when the first of them is asked for.

FastAPI takes longer to import than all else of the server together, and predictions need none of
it.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from gyroscope.serve.champions import ModelTable
from gyroscope.serve.http import Limits


class LazyControl:
    """Stands for :func:`gyroscope.serve.control.control_app`, with the same arguments."""

    def __init__(self, models: ModelTable, limits: Limits) -> None:
        self._models, self._limits = models, limits
        self._making: asyncio.Task[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the first ones wait about a second, and nobody else does."""
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(self._made))
        app = await asyncio.shield(self._making)  # one client that leaves may not cancel it
        await app(scope, receive, send)

    def _made(self) -> ASGIApp:
        from gyroscope.serve.control import control_app

        return control_app(self._models, self._limits)
