"""What a bundle was built with. Equal on the same machine until something on it changes."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import msgspec

# Whichever of them are installed: what trains, and what the arrays were made with.
_LIBRARIES = ("catboost", "lightgbm", "numpy", "scikit-learn", "scipy", "xgboost", "xgboost-cpu")


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where a bundle was built."""

    python: str  # e.g. "CPython 3.11.9"
    platform: str  # e.g. "Linux x86_64"
    libraries: dict[str, str]  # versions of the numerical and training libraries, by name


def build_environment() -> Environment:
    """The environment of this process."""
    return Environment(
        python=f"{platform.python_implementation()} {platform.python_version()}",
        platform=f"{platform.system()} {platform.machine()}",
        libraries={name: found for name in _LIBRARIES if (found := _version(name))},
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
