"""Every error Gyroscope raises on purpose.

GyroscopeError                 exit 1
├── UsageError                 exit 2: the command, file or setting given is wrong
│   ├── ConfigError            gyroscope.yaml or a setting
│   ├── ContractError          a contract that contradicts itself or its data
│   └── MissingExtraError           a library of an extra is not installed
├── DataError                  a data file that cannot be used as it is
├── NotFoundError              a model, version, decision or bundle that does not exist
├── RowError                   rows that break the contract: one problem per field
├── RequestError               an HTTP request that cannot be answered: carries its status
├── BundleError                a bundle that is damaged, too new or not faithful
├── ConflictError              somebody else changed the state first
└── LogError                   the prediction log cannot accept or read a record
    └── UnwritableError        its disk takes nothing now; trying again can help
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class GyroscopeError(Exception):
    """Something Gyroscope knows about went wrong; the message says what, where and what to do."""

    exit_code = 1


class UsageError(GyroscopeError):
    """The command, file or setting given is wrong; nothing was changed."""

    exit_code = 2


class ConfigError(UsageError):
    """``gyroscope.yaml`` or a setting is wrong."""


class ContractError(UsageError):
    """A contract contradicts itself, or the data it is meant for."""


class MissingExtraError(UsageError):
    """An optional library is needed; the message names the extra that brings it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} is not installed: run pip install "gyroscope-ml[{extra}]"')
        self.extra = extra


class DataError(GyroscopeError):
    """A data file cannot be used as it is."""


class NotFoundError(GyroscopeError):
    """A model, version, decision or bundle does not exist."""


class BundleError(GyroscopeError):
    """A bundle is damaged, made by a newer release, or does not equal its training library."""


class ConflictError(GyroscopeError):
    """Somebody else changed the state first; look again and repeat."""


class LogError(GyroscopeError):
    """The prediction log cannot accept or read a record."""


class UnwritableError(LogError):
    """The disk of the prediction log takes nothing now; trying again can help."""


class FieldProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with one field of a request or row."""

    row: int | None = None  # position among the rows given, from 0; None outside rows
    field: str  # column name or path of the field
    given: str  # of rows and requests: what it is, never its value; of the user's own files: both
    expected: str  # what would have been right


class RowError(GyroscopeError):
    """Rows break the contract; ``problems`` names every field that does."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        shown = "; ".join(
            f"{'' if p.row is None else f'row {p.row}, '}{p.field}: "
            f"given {p.given}, expected {p.expected}"
            for p in self.problems[:5]
        )
        more = len(self.problems) - 5
        super().__init__(shown + (f"; and {more} more" if more > 0 else ""))


class RequestError(GyroscopeError):
    """An HTTP request cannot be answered; ``status`` is the HTTP status code."""

    def __init__(self, status: int, message: str, problems: Sequence[FieldProblem] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.problems = tuple(problems)
