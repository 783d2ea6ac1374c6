"""Profiles of raw tables, whatever holds them."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from gyroscope.data import parallel, tables
from gyroscope.data import table_profile as module_under_test
from gyroscope.data.contract import ColumnType
from gyroscope.data.profile import ColumnProfile, Profile
from gyroscope.data.table_profile import reference_profile, table_profile
from gyroscope.errors import DataError, UsageError

ROWS = 2500


@pytest.fixture(scope="module")
def people() -> pa.Table:
    rng = np.random.default_rng(1)
    age = np.where(rng.random(ROWS) < 0.02, np.nan, rng.normal(40, 9, ROWS).round(3))
    return pa.table(
        {
            "age": age,
            "visits": rng.poisson(3, ROWS),
            "city": pa.array(rng.choice(["Rom", "Bonn", "Lima"], ROWS, p=[0.5, 0.3, 0.2])),
            "member": rng.random(ROWS) < 0.3,
            "since": pa.array(1.7e9 + rng.integers(0, 10**6, ROWS))
            .cast(pa.int64())
            .cast(pa.timestamp("s")),
        }
    )


def parquet(table: pa.Table, folder: Path) -> Any:
    pq.write_table(table, folder / "table.parquet", row_group_size=700)
    return folder / "table.parquet"


def two_parquet_files(table: pa.Table, folder: Path) -> Any:
    pq.write_table(table.slice(0, 1000), folder / "part-1.parquet")
    pq.write_table(table.slice(1000), folder / "part-2.parquet")
    return str(folder / "part-*.parquet")


def csv(table: pa.Table, folder: Path) -> Any:
    table.to_pandas().to_csv(folder / "table.csv.gz", index=False)
    return folder / "table.csv.gz"


def dataset(table: pa.Table, folder: Path) -> Any:
    return ds.dataset(parquet(table, folder))


class Streamed:
    """Something else that Arrow can read."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, schema: Any = None) -> Any:
        return self._table.to_reader(400).__arrow_c_stream__(schema)


def views(table: pa.Table) -> pa.Table:
    """Its texts as Polars stores them."""
    return table.set_column(2, "city", table["city"].cast(pa.string_view()))


def categories(table: pa.Table) -> pa.Table:
    """Its texts as Polars stores them if there are few."""
    codes = table["city"].combine_chunks().dictionary_encode()
    cities = codes.dictionary.cast(pa.string_view())
    return table.set_column(2, "city", pa.DictionaryArray.from_arrays(codes.indices, cities))


def runs(table: pa.Table) -> pa.Table:
    """Numbers as runs."""
    return table.set_column(1, "visits", pc.run_end_encode(table["visits"].combine_chunks()))


class AsArray:
    """One batch of rows for whoever knows Arrow."""

    def __init__(self, table: pa.Table) -> None:
        (self._batch,) = table.combine_chunks().to_batches()

    def __arrow_c_array__(self, schema: Any = None) -> Any:
        return self._batch.__arrow_c_array__(schema)


SOURCES: dict[str, Callable[[pa.Table, Path], Any]] = {
    "parquet": parquet,
    "two files": two_parquet_files,
    "csv": csv,
    "dataset": dataset,
    "chunks": lambda table, _: pa.concat_tables([table.slice(0, 999), table.slice(999)]),
    "reader": lambda table, _: table.to_reader(400),
    "batch": lambda table, _: table.combine_chunks().to_batches()[0],
    "pandas": lambda table, _: table.to_pandas(),
    "stream": lambda table, _: Streamed(table),
    "arrays": lambda table, _: {name: table[name].to_numpy() for name in table.column_names},
    "dictionary": lambda table, _: table.set_column(2, "city", table["city"].dictionary_encode()),
    "views": lambda table, _: views(table),
    "stream of views": lambda table, _: Streamed(views(table)),
    "categories": lambda table, _: categories(table),
    "stream of categories": lambda table, _: Streamed(categories(table)),
    "runs": lambda table, _: runs(table),
    "one batch": lambda table, _: AsArray(table),
}


@pytest.mark.parametrize("source", SOURCES)
def test_a_table_has_one_profile_whatever_holds_it(
    people: pa.Table, tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PIECE_ROWS", 600)  # small, so that there are several pieces
    monkeypatch.setattr(parallel, "FEW_VALUES", 0)  # and in threads
    for module in (tables, module_under_test):
        monkeypatch.setattr(module, "PIECE", 5000)
    spec, whole = reference_profile(people)
    found = table_profile(SOURCES[source](people, tmp_path), spec, reference=whole)
    other_spec, other = reference_profile(SOURCES[source](people, tmp_path))
    assert found.n == other.n == ROWS
    assert [column.name for column in other_spec.columns] == people.column_names
    assert (found.absent, found.extra) == ((), ())
    for one, two, three in zip(whole.columns, found.columns, other.columns, strict=True):
        for name in ("counts", "magnitude_counts", "sketch"):
            assert np.array_equal(getattr(one, name), getattr(two, name)), name
            assert np.array_equal(getattr(one, name), getattr(three, name)), name
        assert (one.missing, one.low, one.high) == (two.missing, two.low, two.high)
        assert two.unreadable == 0
        assert two.mean == pytest.approx(one.mean)
        assert two.m2 == pytest.approx(one.m2)
    assert other_spec.columns[0].variation == spec.columns[0].variation


def bool8(values: list[int]) -> pa.Array:
    return pa.ExtensionArray.from_storage(pa.bool8(), pa.array(values, pa.int8()))


def test_views_of_texts_can_be_sampled(people: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_under_test, "SAMPLED", 100)
    spec, _ = reference_profile(views(people))
    assert set(spec.columns[2].categories) == {"Rom", "Bonn", "Lima"}


def one_column(values: Any) -> tuple[Any, ColumnProfile]:
    spec, found = reference_profile({"x": values})
    return spec.columns[0], found.columns[0]


@pytest.mark.parametrize(
    ("values", "kind", "counts"),
    [
        (pa.nulls(5), ColumnType.NUMBER, [0]),
        (pa.array([7.0] * 4), ColumnType.NUMBER, [0, 4, 0]),
        (pa.array([7]), ColumnType.INTEGER, [0, 1, 0]),
        (pa.array([math.inf, -math.inf, 1.0, 1.0]), ColumnType.NUMBER, [1, 2, 1]),
        (pa.array([Decimal("1.10"), None]), ColumnType.NUMBER, [0, 1, 0]),
        (pa.array([True, None, False, True]), ColumnType.BOOLEAN, [1, 2, 0]),
        (pa.array([3_600_000, 0], pa.time32("ms")), ColumnType.NUMBER, [0, 1, 1, 0]),
        (pa.array([1, 1], pa.duration("us")), ColumnType.NUMBER, [0, 2, 0]),
        (pa.array([0, 0], pa.date32()), ColumnType.DATETIME, [0, 2, 0]),
        (pa.array(["b", "a", " b ", "?", None]), ColumnType.CATEGORY, [2, 1, 0]),
        (pa.array(["yes", "no", "yes"]), ColumnType.BOOLEAN, [1, 2, 0]),
        (pa.array([2, 1, 2]).dictionary_encode(), ColumnType.CATEGORY, [2, 1, 0]),
        (pa.array([], pa.float64()), ColumnType.NUMBER, [0]),
        (bool8([1, 0, 1]), ColumnType.INTEGER, [0, 1, 2, 0]),
    ],
)
def test_every_kind_of_column_is_profiled(values: Any, kind: ColumnType, counts: list[int]) -> None:
    spec, found = one_column(values)
    assert spec.type is kind
    assert found.counts.tolist() == counts


def test_time_of_day_counts_in_seconds() -> None:
    spec, found = one_column(pa.array([3_600_000_000, 60_000_000], pa.time64("us")))
    assert (spec.unit, found.high) == ("s", 3600.0)


def test_the_most_frequent_thousand_of_many_categories_are_listed() -> None:
    texts = [f"c{number}" for number in range(10_000)] + ["often"] * 50
    spec, found = one_column(pa.array(texts))
    assert spec.levels == 1000
    assert spec.categories[0] == "often"
    assert found.counts[-1] == 9001
    assert found.unlisted_distinct == pytest.approx(9001, rel=4 * 1.04 / 32)


def test_a_new_category_is_named(people: pa.Table) -> None:
    spec, _ = reference_profile(people.select(["city"]))
    found = table_profile({"city": ["Rom", "Oslo", "Oslo", "Kiel"]}, spec).columns[0]
    assert found.counts.tolist() == [1, 0, 0, 3]
    assert found.others.counts == (("Oslo", 2), ("Kiel", 1))


@pytest.mark.parametrize(
    ("before", "now", "unreadable"),
    [
        ([1.5, 2.5], ["1.5", "x", "N/A", "y"], 2),
        ([1, 2], [pd.Timestamp("2026-01-01")], 1),
        ([True, False], ["yes", "0", "perhaps"], 1),
        (pd.to_datetime(["2026-01-01", "2026-01-02"]), ["2026-01-01T12:00:00", "soon"], 1),
        (pd.to_datetime(["2026-01-01", "2026-01-02"]), [20260101], 1),
        (["a", "b"], pa.array([["a"], None]), 1),
        (["1", "2"], [1.0, 2.0], 0),
    ],
)
def test_what_cannot_be_read_is_counted(before: Any, now: Any, unreadable: int) -> None:
    spec, _ = reference_profile(pd.DataFrame({"x": before}))
    found = table_profile({"x": now}, spec).columns[0]
    assert found.unreadable == unreadable
    assert found.n + found.missing + found.unreadable == len(now)


@pytest.mark.parametrize(
    ("values", "kind", "counts", "missing"),
    [
        (np.ma.masked_less([1.0, 2.0, 2.0], 2), ColumnType.NUMBER, [0, 2, 0], 1),
        (np.ma.array(["a", "b"], mask=[True, False]), ColumnType.CATEGORY, [1, 0], 1),
        (np.array([1.5, 2.5], dtype=">f8"), ColumnType.NUMBER, [0, 1, 1, 0], 0),
        (np.array([1.5, math.nan], dtype=np.longdouble), ColumnType.NUMBER, [0, 1, 0], 1),
        (np.array(["2020-01", "NaT"], dtype="datetime64[M]"), ColumnType.DATETIME, [0, 1, 0], 1),
        (np.array([2, 3], dtype="timedelta64[h]"), ColumnType.NUMBER, [0, 1, 1, 0], 0),
        (pd.Series([pd.NA, 1, "x", "x"], dtype=object), ColumnType.CATEGORY, [2, 1, 0], 1),
        (pd.Series([10**30, 10**30, None], dtype=object), ColumnType.CATEGORY, [2, 0], 1),
        (pd.Series([np.zeros(2), "x", "x"], dtype=object), ColumnType.CATEGORY, [2, 1, 0], 0),
        (pd.Series(["\ud800", "x", "x"], dtype=object), ColumnType.CATEGORY, [2, 1, 0], 0),
    ],
)
def test_arrays_that_arrow_does_not_know_are_read(
    values: Any, kind: ColumnType, counts: list[int], missing: int
) -> None:
    spec, found = one_column(values)
    assert spec.type is kind
    assert (found.counts.tolist(), found.missing) == (counts, missing)


def test_a_series_is_a_table_of_one_column() -> None:
    spec, found = reference_profile(pd.Series([1.0, 2.0], name="age"))
    assert (spec.columns[0].name, found.n) == ("age", 2)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([[1], [2]]),
        pa.array([b"a", b"\xff"]).dictionary_encode(),
        pa.DictionaryArray.from_arrays([0, 1], pa.array([[1], [2]])),
        pa.array([pa.MonthDayNano([1, 2, 3])] * 2),
        pa.array([b"0" * 16, b"1" * 16], pa.uuid()),
    ],
)
def test_what_holds_no_single_values_is_left_out(values: Any) -> None:
    _, found = reference_profile({"x": [1.0, 2.0], "held": values})
    assert found.extra == ("held",)


@pytest.mark.parametrize("source", ["parquet", "reader", "pandas", "stream", "views", "runs"])
def test_a_table_without_rows_has_a_profile_without_counts(
    people: pa.Table, tmp_path: Path, source: str
) -> None:
    spec, _ = reference_profile(people)
    found = table_profile(SOURCES[source](people.slice(0, 0), tmp_path), spec)
    assert found.n == sum(column.n + column.missing for column in found.columns) == 0


def test_absent_and_extra_columns_are_reported(people: pa.Table) -> None:
    spec, reference = reference_profile(people)
    lists = pa.array([[1]] * ROWS)
    changed = people.drop_columns(["age"]).append_column("tags", lists)
    found = table_profile(changed, spec, reference=reference)
    assert (found.absent, found.extra) == (("age",), ("tags",))
    assert (found.columns[0].n, found.columns[0].missing) == (0, ROWS)
    assert reference_profile(changed)[1].extra == ("tags",)


def test_text_files_are_typed_by_what_nearly_all_values_are(tmp_path: Path) -> None:
    rows = [
        f"{number / 7:.3f},0{number % 90 + 10},{number % 28 + 1}/1/2026" for number in range(99)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["amount,zip,day", *rows, "oops,,"]) + "\n")
    spec, found = reference_profile(tmp_path / "a.csv")
    amount, code, day = spec.columns
    assert (amount.type, found.columns[0].unreadable) == (ColumnType.NUMBER, 1)
    assert (code.type, found.columns[1].missing) == (ColumnType.CATEGORY, 1)
    assert (day.type, day.format) == (ColumnType.DATETIME, "%d/%m/%Y")


def test_rows_sorted_by_a_column_have_no_order_in_time(people: pa.Table) -> None:
    rows = people.drop_columns(["since"])
    assert reference_profile(rows)[0].columns[0].variation is not None
    for name in ("visits", "city"):
        assert reference_profile(rows.sort_by(name))[0].columns[0].variation is None
    forced, _ = reference_profile(rows.sort_by("visits"), in_time_order=True)
    assert forced.columns[1].variation is not None
    assert forced.columns[1].variation.dispersions.shift[0].ratio > 50


def test_parts_across_pieces_vary_as_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    x = 20 + 10 * np.sin(np.linspace(0, 12, 9000)) + np.random.default_rng(2).normal(size=9000)
    spec, _ = reference_profile({"x": x})
    monkeypatch.setattr(tables, "PIECE_ROWS", 777)
    assert reference_profile({"x": x})[0] == spec
    assert spec.columns[0].variation is not None
    assert spec.columns[0].variation.dispersions.shift[0].ratio > 50


def test_joint_summaries_know_which_columns_move_together() -> None:
    x = np.random.default_rng(3).normal(size=5000)
    table = {"x": x, "y": -x, "z": np.random.default_rng(4).normal(size=5000)}
    _, found = reference_profile(table)
    assert found.joint is not None
    products = found.joint.products / found.joint.n
    assert products[0, 1] == pytest.approx(-1, abs=0.02)
    assert products[0, 2] == pytest.approx(0, abs=0.06)


def test_profiles_of_tables_are_bytes_too(people: pa.Table) -> None:
    spec, whole = reference_profile(people)
    assert Profile.from_bytes(whole.to_bytes(), spec) == whole


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (7, "expected a path, an Arrow table, a frame or arrays by name"),
        (np.zeros(3), "expected an array of two dimensions, got 1"),
        ({"x": [[1]]}, "no column of the table can be profiled"),
        (pa.table([[1], [2]], names=["a", "a"]), "several columns are named 'a'"),
        ({"a": [1], "b": [1, 2]}, "do not make a table"),
        ({"a": 1.0}, "column 'a': expected an array or a list, got <class 'float'>"),
        ({"a": np.zeros((3, 2))}, "column 'a': expected one dimension, got 2"),
        (pa.array([1.0]), "no table that Arrow can read"),
    ],
)
def test_what_is_no_table_is_an_error(source: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        reference_profile(source)
    with pytest.raises(UsageError, match="no file"):
        reference_profile("nowhere.parquet")


PEAK = """
import sys
from pathlib import Path
from gyroscope.data.table_profile import reference_profile, table_profile
spec, _ = reference_profile(sys.argv[1])
table_profile(sys.argv[1], spec)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """One row group of 480 MB. VmHWM, since ru_maxrss counts the process that started it too."""
    path = tmp_path / "large.parquet"
    make = "import sys, numpy as np, pyarrow as pa, pyarrow.parquet as pq; "
    make += "x = np.random.default_rng(1).normal(size=6_000_000); "
    make += "t = pa.table({f'c{k}': x for k in range(10)}); "
    make += "pq.write_table(t, sys.argv[1], row_group_size=6_000_000, compression='none')"
    subprocess.run([sys.executable, "-c", make, str(path)], check=True)
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(path)], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 600 * 1024  # KiB
