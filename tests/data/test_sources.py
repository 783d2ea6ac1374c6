from __future__ import annotations

import csv
import gzip
import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gyroscope.data.sources import read_table
from gyroscope.errors import DataError, UsageError


def written(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_every_column_of_a_csv_file_is_text_as_it_stands(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a,b,c\n1, 02 ,NA\n,null,1e5\n"))
    assert table.schema == pa.schema([("a", pa.string()), ("b", pa.string()), ("c", pa.string())])
    assert table.to_pydict() == {"a": ["1", ""], "b": [" 02 ", "null"], "c": ["NA", "1e5"]}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_guessed_from_the_header(tmp_path: Path, delimiter: str) -> None:
    header = delimiter.join(["a", "b", "c"])
    assert read_table(written(tmp_path, f"{header}\n1{delimiter}2{delimiter}3\n")).num_columns == 3


def test_a_delimiter_within_quotes_of_the_header_does_not_count(tmp_path: Path) -> None:
    assert read_table(written(tmp_path, '"a,b,c,d";e\n1;2\n')).column_names == ["a,b,c,d", "e"]


def test_a_tsv_file_with_commas_in_its_header_is_split_at_tabs(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, "a,b,c\td\n1\t2\n", "data.tsv"))
    assert table.column_names == ["a,b,c", "d"]


def test_odd_names_survive_exactly(tmp_path: Path) -> None:
    names = [" a b ", "ümläut.x", 'say "hi"', "a:b", "null", "日本", "two\nlines", "a,b", "🎈"]
    buffer = io.StringIO()
    csv.writer(buffer).writerows([names, range(len(names))])
    table = read_table(written(tmp_path, buffer.getvalue()))
    assert table.column_names == names
    assert table.to_pylist() == [{name: str(k) for k, name in enumerate(names)}]


def test_blank_lines_and_any_line_break_are_accepted(tmp_path: Path) -> None:
    for text in ("\n \na,b\n\n1,2\n", "a,b\r\n1,2\r\n", "a,b\r1,2", "a,b\n1,2"):
        assert read_table(written(tmp_path, text)).to_pylist() == [{"a": "1", "b": "2"}]


def test_quoted_values_may_hold_line_breaks_and_quotes(tmp_path: Path) -> None:
    table = read_table(written(tmp_path, 'a,b\n"x\ny","say ""hi"""\n"last\n","line\n"\n'))
    assert table.to_pydict() == {"a": ["x\ny", "last\n"], "b": ['say "hi"', "line\n"]}


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("a;b\n1;é\n".encode(), "é"),
        (b"\xef\xbb\xbf" + "a;b\n1;é\n".encode(), "é"),
        ("a;b\n1;é €\n".encode("cp1252"), "é €"),
        ("a;b\n1;é\x81\n".encode("latin-1"), "é\x81"),
    ],
)
def test_text_is_utf8_with_or_without_mark_or_else_latin(
    tmp_path: Path, content: bytes, value: str
) -> None:
    assert read_table(written(tmp_path, content)).to_pydict() == {"a": ["1"], "b": [value]}


def test_packed_files_are_known_by_their_bytes(tmp_path: Path) -> None:
    packed = gzip.compress(b"a,b\n1,2\n")
    for name in ("data.csv.gz", "data.csv", "data.TXT.gz"):
        assert read_table(written(tmp_path, packed, name)).num_rows == 1


def test_parquet_keeps_its_types_and_nan_becomes_null(tmp_path: Path) -> None:
    table = pa.table(
        {
            "x": pa.array([1.5, float("nan"), None]),
            "n": pa.array([1, 2, None]),
            "c": pa.array(["a", "b", "a"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert read.schema.types == table.schema.types
    assert read.to_pydict() == {"x": [1.5, None, None], "n": [1, 2, None], "c": ["a", "b", "a"]}


def test_a_pattern_reads_all_files_in_order_of_their_names(tmp_path: Path) -> None:
    written(tmp_path, "b,a\n2,1\n", "2.csv")
    written(tmp_path, "a,b\n0,0\n", "1.csv")
    assert read_table(tmp_path / "*.csv").to_pydict() == {"a": ["0", "1"], "b": ["0", "2"]}
    assert read_table(str(tmp_path / "[1]*")).num_rows == 1


def test_a_pattern_of_files_with_other_columns_names_the_first_that_differs(tmp_path: Path) -> None:
    written(tmp_path, "a,b\n0,0\n", "1.csv")
    written(tmp_path, "a,c\n2,1\n", "2.csv")
    with pytest.raises(DataError, match=r"different columns: only .*1\.csv has 'b'"):
        read_table(tmp_path / "*.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\n \n", "is empty"),
        (b"a,b", "has a header but no rows"),
        (b"a,b\n\n", "has a header but no rows"),
        (b"a,b,a\n1,2,3\n", "several columns are named 'a'"),
        (b",b\n1,2\n", "column 1 of 2 has no name"),
        (b"a, \n1,2\n", "column 2 of 2 has no name"),
        (b"a,b\n1,2\n3,4,5\n", r"row 3 \(the header is row 1\) has 3 fields where 2 are expected"),
        (b"a,b\n1\n", "row 2 .* has 1 fields where 2 are expected"),
        (b'a,b\n1,"2\n3,4\n', r"the double quote before '2\\n3,4\\n' near row 2 .* never closed"),
        (b"PK\x03\x04\x00\x00\xff\xfe", "not text, whatever its name says"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (gzip.compress(b"a,b\n1,2\n" * 500, mtime=0)[:-12], "is damaged"),
    ],
)
def test_what_is_wrong_with_a_text_file_is_said(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_table(written(tmp_path, content))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"t\.parquet is not a readable Parquet file"):
        read_table(written(tmp_path, content, "t.parquet"))


def test_a_parquet_file_without_rows_or_with_doubled_names_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="columns but no rows"):
        read_table(tmp_path / "none.parquet")
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(DataError, match="several columns are named 'a'"):
        read_table(tmp_path / "twice.parquet")


def test_a_path_that_names_no_data_file_is_a_usage_error(tmp_path: Path) -> None:
    written(tmp_path, "x", "data.xlsx")
    for name, message in {
        "nothing.csv": "no file",
        "*.csv": "no file matches",
        "data.xlsx": "unknown kind of file; known endings: .csv",
        ".": "is a folder; give a file or a pattern",
    }.items():
        with pytest.raises(UsageError, match=message):
            read_table(tmp_path / name)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=8))
def test_any_text_comes_back_as_it_was_written(rows: list[tuple[str, str]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerows([("a", "b"), *rows])
    with tempfile.TemporaryDirectory() as folder:
        table = read_table(written(Path(folder), buffer.getvalue()))
    assert list(zip(*table.to_pydict().values(), strict=True)) == rows
