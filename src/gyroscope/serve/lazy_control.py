"""The control routes, made when somebody asks for one.

FastAPI takes longer to import than all else of the server together, as much memory too, and
predictions need none of it.
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

    async def stop(self) -> None:
        """Wait for the thread that makes them, if they are being made."""
        if self._making is not None:
            await asyncio.gather(self._making, return_exceptions=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as soon as the routes are made: the first has to wait for that."""
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(self._made))
        app = await asyncio.shield(self._making)  # one client that leaves may not cancel it
        await app(scope, receive, send)

    def _made(self) -> ASGIApp:
        from gyroscope.serve.control import control_app

        return control_app(self._models, self._limits)
