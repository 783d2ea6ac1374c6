"""Profiles of raw tables of any kind: no contract is needed, and no more memory than a few columns.

Columns are read one by one, in pieces, on all cores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from gyroscope.data.cells import (
    SAMPLED,
    Cells,
    ColumnSpec,
    ProfileSpec,
    cells_of,
    even_rows,
)
from gyroscope.data.contract import ColumnType
from gyroscope.data.joint import JOINT_COLUMNS, JOINT_ROWS, joint_of_cells
from gyroscope.data.parallel import in_threads
from gyroscope.data.profile import (
    ColumnProfile,
    Profile,
    category_profile,
    magnitude_bounds,
    merge_all,
    merged_columns,
    number_profile,
)
from gyroscope.data.profile_spec import number_spec
from gyroscope.data.readings import Codes, Numbers, codes_of, kind_of, numbers_of
from gyroscope.data.remarks import nearest
from gyroscope.data.row_order import RunScan, says_something
from gyroscope.data.tables import (
    PIECE,
    ArrowTable,
    Stream,
    Table,
    chunks_of,
    in_one,
    is_nested,
    open_table,
    pieces_of,
    plain,
    temporary_folder,
)
from gyroscope.data.variation import Parts, large_part_of, part_bounds, variations
from gyroscope.errors import DataError, UsageError
from gyroscope.kernels import count_codes, tally_numbers

Counts = NDArray[np.int64]


def reference_profile(
    source: Any,
    *,
    names: Sequence[str] | None = None,
    in_time_order: bool | None = None,
    columns: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
) -> tuple[ProfileSpec, Profile]:
    """Fix the cells of all columns of a table, and count the table in them.

    What a column is goes by its Arrow type; texts are categories, of which the 1000 most frequent
    are listed, or, in text files, whatever nearly all of them read as. Cells and categories are
    fixed by at most 100,000 rows, evenly taken. Columns of lists, structs and bytes are not
    profiled, nor those that are not chosen, but named in ``extra``.

    Args:
        source: anything that :func:`~gyroscope.data.tables.open_table` opens.
        names: of the columns of an array of two dimensions.
        in_time_order: whether the rows are in order of time, so that their variation can be
            measured; None if that is to be judged by the rows (see ``data/row_order.py``).
        columns: those to profile; None: all.
        ignore: those to leave out.

    Raises:
        UsageError: there is no such file, it is of no known kind, or it has no such column.
        DataError: the source is no table, is damaged, or has no column that can be profiled.
    """
    opened = open_table(source, names)
    chosen = _chosen(opened.schema.names, columns, ignore)
    if isinstance(opened, Stream):
        profiled, extra = _split(opened, chosen)
        with temporary_folder() as folder:
            return _of_reference(opened.kept(Path(folder)), in_time_order, profiled, extra)
    return _of_reference(opened, in_time_order, *_split(opened, chosen))


def table_profile(
    source: Any,
    spec: ProfileSpec,
    *,
    names: Sequence[str] | None = None,
    reference: Profile | None = None,
) -> Profile:
    """Count a table in the cells of a reference.

    Values that are not of the reference's type are counted as ``unreadable``. Columns that are not
    there are all missing and named in ``absent``, those the reference does not have in ``extra``.

    Args:
        source: anything that :func:`~gyroscope.data.tables.open_table` opens.
        spec: of the reference.
        names: of the columns of an array of two dimensions.
        reference: with it, the profile tells how columns move together.

    Raises:
        UsageError: there is no such file, or it is of no known kind.
        DataError: the source is no table, or is damaged.
    """
    opened = open_table(source, names)
    if isinstance(opened, Stream):
        return merge_all([_of_table(table, spec, reference) for table in opened.tables()])
    return _of_table(opened, spec, reference)


def _chosen(
    names: Sequence[str], columns: Sequence[str] | None, ignore: Sequence[str]
) -> Collection[str]:
    """The names that are to be profiled; raises UsageError for one that is not there."""
    for name in (*(columns or ()), *ignore):
        if name not in names:
            raise UsageError(f"the reference has no column {name!r}; {nearest(name, names)}")
    return set(names if columns is None else columns) - set(ignore)


def _split(opened: Table | Stream, chosen: Collection[str]) -> tuple[list[str], list[str]]:
    """Names of the columns that are to be profiled and can be, and of the others."""
    nested = {field.name for field in opened.schema if is_nested(field.type)}
    profiled = [name for name in opened.schema.names if name in chosen and name not in nested]
    if not profiled:
        why = "all of them hold lists, structs or bytes" if chosen else "none was chosen"
        raise DataError(f"no column of the table can be profiled: {why}")
    return profiled, [name for name in opened.schema.names if name not in profiled]


# -- a column -------------------------------------------------------------------------------------


class _Column:
    """Counts one column, piece by piece; of a reference also part by part."""

    def __init__(self, spec: ColumnSpec, rows: int, *, joint: bool, parts: bool = False) -> None:
        self.spec = spec
        self.runs = RunScan(spec.levels)
        self._edges = np.asarray(spec.edges)
        self._row = 0
        self._done: list[ColumnProfile] = []
        self._sampled = even_rows(rows, JOINT_ROWS) if joint else np.zeros(0, dtype=np.int64)
        self._cells: list[Cells] = []
        self._parts = _Parts(spec, part_bounds(rows)) if parts else None

    def add(self, array: Any) -> None:
        """Count the next piece, an Arrow array, chunked or not."""
        if self.spec.categorical:
            self._add_codes(codes_of(array, self.spec))
        else:
            self.add_numbers(numbers_of(array, self.spec))

    def add_numbers(self, numbers: Numbers) -> None:
        """Count the next piece of a column of numbers, read already."""
        first, bounds, rows = self._next(numbers.size)
        tally = tally_numbers(
            numbers.stretches,
            self._edges,
            bounds=bounds,
            bins=self.spec.bins,
            groups=None if self._parts is None else self._parts.groups(first, len(bounds) - 1),
        )
        self._done.append(number_profile(tally, unreadable=numbers.unreadable))
        if self._parts is not None:
            self._parts.add(first, tally.binned, tally.missing)
            self._parts.add_magnitudes(first, tally.magnitudes, tally.first_magnitude)
            for stretch in numbers.stretches:
                self.runs.read(stretch)
        if rows.size:
            self._cells.append(cells_of(numbers.taken(rows), self.spec))

    def _add_codes(self, codes: Codes) -> None:
        first, bounds, rows = self._next(codes.codes.size)
        cells = self.spec.cells
        held = count_codes(codes.codes, codes.lookup, cells + 1, bounds=bounds)
        total = held.sum(axis=0)
        self._done.append(
            category_profile(
                total[:cells],
                missing=int(total[cells]) - codes.unreadable,
                unreadable=codes.unreadable,
                sketch=codes.sketch,
                others=codes.others,
            )
        )
        if self._parts is not None:
            self._parts.add(first, held[:, :cells], held[:, cells])
            self.runs.read_cells(codes.codes)
        if rows.size:
            self._cells.append(codes.codes[rows].astype(np.uint16))

    def _next(self, rows: int) -> tuple[int, list[int], Counts]:
        """The first of the next rows; where they are cut into parts, and which are sampled."""
        first, end = self._row, self._row + rows
        self._row = end
        bounds = [0, rows] if self._parts is None else self._parts.within(first, end)
        low, high = np.searchsorted(self._sampled, [first, end])
        return first, bounds, self._sampled[low:high] - first

    def profile(self) -> ColumnProfile:
        """The profile of all pieces, of which a table without rows has none."""
        if not self._done:
            self.add(_nulls(0))
        return self._done[0] if len(self._done) == 1 else merged_columns(self._done)

    def cells(self) -> Cells:
        """The cells of the rows that are looked at together with other columns."""
        return np.concatenate(self._cells) if self._cells else np.zeros(0, dtype=np.uint16)

    def parts(self) -> Parts:
        """The column part by part."""
        assert self._parts is not None  # only columns of a reference are asked
        return self._parts.counted(self.runs.longest)


class _Parts:
    """The counts of the consecutive parts of a reference."""

    def __init__(self, spec: ColumnSpec, bounds: Counts) -> None:
        self._spec, self._bounds = spec, bounds
        parts = bounds.size - 1
        # In coarse bins, and as int32: there are many parts, and many columns at a time.
        cells = spec.cells if spec.categorical else len(spec.bins)
        self._counts = np.zeros((parts, cells), dtype=np.int32)
        self._missing = np.zeros(parts, dtype=np.int64)
        self._large = large_part_of(parts)
        self._magnitudes: list[tuple[int, int, Counts]] = []

    def within(self, first: int, end: int) -> list[int]:
        """Where the rows first .. end - 1 are cut by the parts, counted from the first of them."""
        inner = self._bounds[(self._bounds > first) & (self._bounds < end)]
        return [0, *(inner - first).tolist(), end - first]

    def add(self, row: int, counts: Counts, missing: Counts) -> None:
        """Add counts in bins or categories of rows that begin with ``row``, as they were cut."""
        parts = self._from(row, len(missing))
        self._counts[parts] += counts.astype(np.int32)
        self._missing[parts] += missing

    def groups(self, row: int, parts: int) -> NDArray[np.int32]:
        """Which of the large parts of rows that begin with ``row`` each part lies in."""
        large = self._large[self._from(row, parts)]
        return np.asarray(large - large[0], dtype=np.int32)

    def add_magnitudes(self, row: int, magnitudes: Counts, first: int) -> None:
        """Add the magnitudes of the large parts of such rows; the lowest is ``first``."""
        if magnitudes.size:
            large = int(self._large[self._from(row, 1)][0])
            self._magnitudes.append((large, first, magnitudes))

    def _from(self, row: int, parts: int) -> slice:
        last = self._missing.size - 1
        start = min(int(np.searchsorted(self._bounds, row, side="right")) - 1, last)
        return slice(start, start + parts)

    def counted(self, longest_run: int) -> Parts:
        """What has been counted of all parts."""
        return Parts(
            counts=self._counts.astype(np.int64),
            missing=self._missing,
            rows=np.diff(self._bounds),
            longest_run=longest_run,
            magnitudes=self._extreme_medians(),
            unlisted=self._spec.levels if self._spec.categorical else None,
        )

    def _extreme_medians(self) -> tuple[float, float] | None:
        if not self._magnitudes:
            return None
        lowest = min(first for _, first, _ in self._magnitudes)
        width = max(first + held.shape[1] for _, first, held in self._magnitudes) - lowest
        whole = np.zeros((int(self._large[-1]) + 1, width), dtype=np.int64)
        for large, first, held in self._magnitudes:
            whole[large : large + len(held), first - lowest :][:, : held.shape[1]] += held
        seen = np.cumsum(whole, axis=1)
        total = seen[:, -1:]
        at = (seen >= (total + 1) // 2).argmax(axis=1)[total[:, 0] > 0]
        if not at.size:
            return None
        low, high = (sum(magnitude_bounds(int(cell) + lowest)) / 2 for cell in (at.min(), at.max()))
        return low, high


# -- a table --------------------------------------------------------------------------------------


def _of_reference(
    table: Table, in_time_order: bool | None, profiled: Sequence[str], extra: Sequence[str]
) -> tuple[ProfileSpec, Profile]:
    joint = set(profiled[:JOINT_COLUMNS])

    def counted(name: str) -> _Column:
        return _reference_column(table, name, joint=name in joint, parts=in_time_order is not False)

    values = table.rows * len(profiled)
    columns = in_threads(counted, profiled, values=values)
    timed = in_time_order if in_time_order is not None else _in_order(columns)
    specs = [column.spec for column in columns]
    if timed:
        found = variations([column.parts() for column in columns])
        specs = [
            msgspec.structs.replace(spec, variation=variation)
            for spec, variation in zip(specs, found, strict=True)
        ]
    spec = ProfileSpec(columns=tuple(specs))
    done = tuple(column.profile() for column in columns)
    cells = [column.cells() for column in columns[:JOINT_COLUMNS]]
    return spec, Profile(
        spec=spec,
        n=table.rows,
        columns=done,
        joint=joint_of_cells(cells, [column.counts for column in done[:JOINT_COLUMNS]]),
        extra=tuple(extra),
    )


def _reference_column(table: Table, name: str, *, joint: bool, parts: bool) -> _Column:
    sample, pieces = _sampled(table, name)
    kind = kind_of(name, sample, untyped=table.untyped)
    plain = ColumnSpec(
        name=name,
        type=kind.type,
        unit=kind.unit,
        format=kind.format,
        categories=kind.categories,
    )
    if plain.categorical:
        column = _Column(plain, table.rows, joint=joint, parts=parts)
    else:
        numbers = numbers_of(sample, plain)
        spec = number_spec(name, numbers.floats(), kind.type, unit=kind.unit, format=kind.format)
        column = _Column(spec, table.rows, joint=joint, parts=parts)
        if numbers.size == table.rows:  # to read texts as numbers takes longer than all else
            column.add_numbers(numbers)
            return column
    for piece in pieces:
        column.add(piece)
    return column


def _sampled(table: Table, name: str) -> tuple[Any, Iterator[Any]]:
    """Rows of a column, evenly taken, and all its pieces, read again only if they are large."""
    import pyarrow as pa

    rows = even_rows(table.rows, SAMPLED)
    held: list[Any] = []
    taken: list[Any] = []
    size = first = 0
    for piece in pieces_of(table, name):
        for chunk in chunks_of(piece):
            low, high = np.searchsorted(rows, [first, first + len(chunk)])
            every = high - low == len(chunk)
            taken.append(chunk if every else chunk.take(pa.array(rows[low:high] - first)))
            first += len(chunk)
        size += piece.nbytes
        held = [*held, piece] if size <= 2 * PIECE else []
    if not taken:
        nothing = plain(pa.chunked_array([], table.schema.field(name).type))
        taken, held = list(chunks_of(nothing)), [nothing]
    again = iter(held) if size <= 2 * PIECE else pieces_of(table, name)
    return in_one(pa.chunked_array(taken)), again


def _in_order(columns: Sequence[_Column]) -> bool:
    times = [c.runs for c in columns if c.spec.type is ColumnType.DATETIME]
    others = (c for c in columns if c.spec.type is not ColumnType.DATETIME)
    return says_something(times, any(_sorts(column) for column in others))


def _sorts(column: _Column) -> bool:
    if column.spec.categorical:
        return column.runs.groups(int(np.count_nonzero(column.profile().counts[:-1])))
    return column.runs.sorts


def _of_table(table: Table, spec: ProfileSpec, reference: Profile | None) -> Profile:
    there = set(table.schema.names)
    known = {column.name for column in spec.columns}
    joint = {column.name for column in spec.columns[:JOINT_COLUMNS]} if reference else set()

    def counted(column: ColumnSpec) -> _Column:
        counting = _Column(column, table.rows, joint=column.name in joint)
        name = column.name
        for piece in pieces_of(table, name) if name in there else _nothing(table.rows):
            counting.add(piece)
        return counting

    columns = in_threads(counted, spec.columns, values=table.rows * len(spec.columns))
    summary = None
    if reference is not None:
        cells = [column.cells() for column in columns[:JOINT_COLUMNS]]
        summary = joint_of_cells(cells, [c.counts for c in reference.columns[:JOINT_COLUMNS]])
    return Profile(
        spec=spec,
        n=table.rows,
        columns=tuple(column.profile() for column in columns),
        joint=summary,
        absent=tuple(column.name for column in spec.columns if column.name not in there),
        extra=tuple(name for name in table.schema.names if name not in known),
    )


def _nothing(rows: int) -> Iterator[Any]:
    """A column without values."""
    import pyarrow as pa

    return ArrowTable(pa.table({"nothing": _nulls(rows)})).pieces("nothing")


def _nulls(rows: int) -> Any:
    import pyarrow as pa

    return pa.nulls(rows)
