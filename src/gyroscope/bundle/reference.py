"""What the model looked like when it was new: the state that windows are compared with."""

from __future__ import annotations

import msgspec


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """Measured on the test rows, which nothing was fitted on."""

    n: int
    positives: int
