"""The loops over all values of a table: in C if a compiler was there at installation, else NumPy.

Both give the same counts, extremes and sketches, bit for bit, and the same moments but for rounding
in the last digits. ``trees`` scores and explains trees; what does so in NumPy, to the same bits of
margins, is ``gyroscope.bundle.numpy_trees``, as it needs the node table.
"""

from __future__ import annotations

from gyroscope.kernels.library import compiled
from gyroscope.kernels.runs import Runs, read_runs
from gyroscope.kernels.tally import (
    MAGNITUDES,
    REGISTERS,
    NumberTally,
    cells_of_numbers,
    count_codes,
    sketch_texts,
    tally_numbers,
)
from gyroscope.kernels.texts import encode_texts
from gyroscope.kernels.values import Stretch, floats_of

__all__ = [
    "MAGNITUDES",
    "REGISTERS",
    "NumberTally",
    "Runs",
    "Stretch",
    "cells_of_numbers",
    "compiled",
    "count_codes",
    "encode_texts",
    "floats_of",
    "read_runs",
    "sketch_texts",
    "tally_numbers",
]
