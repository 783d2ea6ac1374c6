"""The autopilot for tabular machine-learning models in production.

Names are imported on first use, so that ``import gyroscope`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "gyroscope.bundle.bundle",
    "Client": "gyroscope.client",
    "Contract": "gyroscope.data.contract",
    "Decision": "gyroscope.decisions",
    "Finding": "gyroscope.findings",
    "GyroscopeError": "gyroscope.errors",
    "Verdict": "gyroscope.findings",
    "Window": "gyroscope.findings",
    "Workspace": "gyroscope.app",
    "drift": "gyroscope.web.comparison",
}

__all__ = [
    "Bundle",
    "Client",
    "Contract",
    "Decision",
    "Finding",
    "GyroscopeError",
    "Verdict",
    "Window",
    "Workspace",
    "__version__",
    "drift",
]

if TYPE_CHECKING:
    from gyroscope.app import Workspace
    from gyroscope.bundle.bundle import Bundle
    from gyroscope.client import Client
    from gyroscope.data.contract import Contract
    from gyroscope.decisions import Decision
    from gyroscope.errors import GyroscopeError
    from gyroscope.findings import Finding, Verdict, Window
    from gyroscope.web.comparison import drift


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gyroscope' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
