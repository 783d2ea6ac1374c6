"""The cells in which the values of each column are counted, and what counting needs of them."""

from __future__ import annotations

from functools import cached_property, lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.contract import ColumnType
from gyroscope.data.framing import framed, unframed
from gyroscope.errors import DataError
from gyroscope.kernels import cells_of_numbers
from gyroscope.stats.dispersion import Dispersion

FloatArray = NDArray[np.float64]
Cells = NDArray[np.uint16]

BINS = 10  # coarse bins; the bands 0.10 and 0.25 of the PSI are customary for deciles
SCORE = "score"  # name of the one column of a profile of scores
FALSE_TRUE = ("false", "true")  # the categories of a boolean
SAMPLED = 100_000  # rows from which edges and categories are taken at most


class Dispersions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the parts of a reference differ in one column, for parts of growing size."""

    shift: tuple[Dispersion, ...] = ()  # of the location of numbers
    spread: tuple[Dispersion, ...] = ()  # of the spread of numbers
    shares: tuple[Dispersion, ...] = ()  # of the bins or categories
    missing: tuple[Dispersion, ...] = ()  # of the missing values


class Variation(msgspec.Struct, frozen=True, kw_only=True):
    """How the consecutive parts of a reference in time order vary, for one column."""

    longest_run: int  # most consecutive rows with one value
    missing: float  # largest share missing in a part
    dispersions: Dispersions
    magnitudes: tuple[float, float] | None  # smallest and largest median of nonzero |x| of a part


class ColumnSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The cells in which the values of one column are counted, and what its values are.

    The cells of a number or datetime are (-inf, edges[0]], (edges[0], edges[1]], ...,
    (edges[-1], inf). Those of a category or boolean are its codes 0 .. levels - 1, the positions in
    ``categories``, and a last one for every other value.
    """

    name: str
    type: ColumnType
    unit: str = ""
    format: str | None = None  # strptime format of datetimes in text, where it is not ISO 8601
    categories: tuple[str, ...] = ()  # ("false", "true") for a boolean; none for numbers
    edges: tuple[float, ...] = ()  # ascending and finite; numbers and datetimes only
    bins: tuple[int, ...] = (0,)  # first cell of each coarse bin, ascending from 0; likewise
    variation: Variation | None = None  # within the reference; None if its order is not known

    @property
    def levels(self) -> int:
        """Number of categories listed; 0 for a number."""
        return len(self.categories)

    @property
    def categorical(self) -> bool:
        """Whether the values are counted by category."""
        return self.type in (ColumnType.CATEGORY, ColumnType.BOOLEAN)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return 1 + (self.levels or len(self.edges))


class ProfileSpec(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The cells of all columns, made once from the reference and kept with the model."""

    columns: tuple[ColumnSpec, ...]

    @cached_property  # every stored profile asks for it
    def digest(self) -> bytes:
        """16 bytes that are the same for equal specs only."""
        import hashlib  # brings OpenSSL, which a comparison of two tables does not need

        return hashlib.blake2b(msgspec.msgpack.encode(self), digest_size=16).digest()

    def to_bytes(self) -> bytes:
        """The spec in a compact form that :meth:`from_bytes` reads."""
        return framed(b"spec", self)

    @classmethod
    def from_bytes(cls, content: bytes) -> ProfileSpec:
        """Read what :meth:`to_bytes` wrote; raises DataError if it is something else."""
        return unframed(b"spec", content, cls)


def checked_matrix(X: FloatArray, columns: int) -> FloatArray:
    """Return ``X`` as float64[n, columns]; raises DataError for any other shape."""
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != columns:
        raise DataError(f"expected a matrix with {columns} columns, got shape {X.shape}")
    return X


def cell_counts(ascending: FloatArray, edges: FloatArray) -> NDArray[np.int64]:
    """Counts of sorted values: looking up edges among values beats values among edges."""
    upto = np.searchsorted(ascending, edges, side="right")
    return np.diff(upto, prepend=0, append=ascending.size)


def category_codes(values: FloatArray, levels: int) -> NDArray[np.int64]:
    """Codes in 0 .. levels, where every other code is ``levels``, and a missing one too."""
    return np.where((values >= 0) & (values < levels), values, levels).astype(np.int64)


def cells_of(values: FloatArray, spec: ColumnSpec) -> Cells:
    """The cell of each encoded value, uint16[n]; ``spec.cells`` for a missing one."""
    if not spec.categorical:
        return cells_of_numbers(values, np.asarray(spec.edges))
    codes = category_codes(values, spec.levels)
    return np.where(np.isnan(values), spec.cells, codes).astype(np.uint16)


def bin_edges(spec: ColumnSpec) -> tuple[float, ...]:
    """The upper ends of all coarse bins of a number but the last."""
    return tuple(spec.edges[first - 1] for first in spec.bins[1:])


@lru_cache(maxsize=8)  # of a table, once for all its columns
def even_rows(n: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` of ``n`` rows, ascending and evenly taken; all if there are no more.

    One of each stretch of equal length, which one is drawn with a fixed seed: a fixed stride would
    see one day of the week only in rows that come by the day.
    """
    rows = np.arange(min(n, most))
    if n > most:
        rows = rows * n // most
        lengths = np.diff(rows, append=n)
        rows += (np.random.default_rng(0).random(most) * lengths).astype(np.int64)
    rows.flags.writeable = False  # it is shared
    return rows
