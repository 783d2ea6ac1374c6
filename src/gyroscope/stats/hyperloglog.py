"""How many distinct values a HyperLogLog sketch has seen."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def distinct_estimate(registers: npt.NDArray[np.uint8]) -> float:
    """The number of distinct values in a sketch.

    The standard error is about 1.04 / sqrt(m) of the number: 3.3 % with 1024 registers; below a
    few hundred values it is smaller.

    Args:
        registers: uint8[m]: of each register the largest rank, 1 to 54, of the hashes that fell
            into it; 0 if none did. Sketches are joined by taking the larger of each register.

    Source:
        Flajolet, Fusy, Gandouet and Meunier (2007), HyperLogLog: the analysis of a near-optimal
        cardinality estimation algorithm; Ertl (2017), New cardinality estimation algorithms for
        HyperLogLog sketches, algorithm 6 (no bias at any number).
    """
    m, last = registers.size, 54
    counts = np.bincount(registers, minlength=last + 1)
    if counts[0] == m:
        return 0.0
    z = m * _tau(1 - counts[last] / m)
    for rank in range(last - 1, 0, -1):
        z = 0.5 * (z + counts[rank])
    z += m * _sigma(counts[0] / m)
    return float(m * m / (2 * math.log(2) * z))


def _sigma(x: float) -> float:
    total, power, factor, before = x, x, 1.0, -1.0
    while total != before:
        power *= power
        before = total
        total += power * factor
        factor *= 2
    return total


def _tau(x: float) -> float:
    if x in (0.0, 1.0):
        return 0.0
    total, root, factor, before = 1 - x, x, 1.0, -1.0
    while total != before:
        root = math.sqrt(root)
        before = total
        factor *= 0.5
        total -= (1 - root) ** 2 * factor
    return total / 3
