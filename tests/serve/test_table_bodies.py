"""Batches as Arrow streams and Parquet files: as JSON rows, and refused where these would be."""

from __future__ import annotations

import asyncio
import base64
import io
import random
import struct
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.serve.conftest import ROW, Served, deploy

from gyroscope.prediction_log import FileLog
from gyroscope.serve.app import create_app
from gyroscope.serve.http import ARROW, JSON, PARQUET, Limits
from gyroscope.serve.table_reader import MOST_WAITING
from gyroscope.serve.wide_integers import wide_integers

BATCH = "/v1/models/churn/predict-batch"
N = 12


def table(n: int = N) -> pa.Table:
    return pa.table(
        {
            "age": pa.array([20 + i for i in range(n)], pa.int32()),
            "balance": pa.array([None if i % 5 == 0 else i / 7 for i in range(n)]),
            "job": pa.array([("clerk", "nurse", "smith")[i % 3] for i in range(n)]),
            "town": pa.array([("Ulm", "Bern: old town", "Rome")[i % 3] for i in range(n)]),
            "owner": pa.array([i % 2 == 0 for i in range(n)]),
            "joined": pa.array([datetime(2024, 5, 1, i % 24, tzinfo=UTC) for i in range(n)]),
            "customer": pa.array([f"c{i}" for i in range(n)]),
        }
    )


def json_rows(given: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = given.to_pylist()
    return [{**row, "joined": row["joined"].isoformat()} for row in rows]


def arrow(given: pa.Table, *, rows: int = 5, **options: Any) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, given.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(given, max_chunksize=rows)
    return sink.getvalue()


def parquet(given: pa.Table, *, rows: int = 5, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(given, sink, row_group_size=rows, **options)
    return sink.getvalue()


def send(
    served: Served, body: bytes, kind: str, *, query: str = "", accept: str = JSON
) -> httpx.Response:
    return served.post(
        f"{BATCH}{query}", content=body, headers={"content-type": kind, "accept": accept}
    )


def records(state: Path) -> list[Any]:
    log = FileLog(state / "log" / "churn")
    found = list(log.read().predictions)
    log.close()
    return found


def dictionary(given: pa.Table) -> pa.Table:
    for name in ("job", "town", "balance"):
        position = given.schema.get_field_index(name)
        given = given.set_column(position, name, given.column(name).dictionary_encode())
    return given


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (ARROW, arrow(table())),
        (ARROW, arrow(dictionary(table()))),
        (ARROW, arrow(table().set_column(2, "job", table()["job"].cast(pa.large_string())))),
        (ARROW, arrow(table().set_column(2, "job", table()["job"].cast(pa.string_view())))),
        (PARQUET, parquet(table())),
        (PARQUET, parquet(table(), compression="zstd", data_page_version="2.0")),
        (PARQUET, parquet(table(), use_dictionary=False, compression="none")),
    ],
    ids=["arrow", "dictionaries", "large text", "views", "parquet", "version 2", "plain"],
)
def test_a_table_is_scored_and_logged_as_the_same_rows_in_json(
    state: Path, kind: str, body: bytes
) -> None:
    with Served(create_app(state)) as server:
        by_row = server.post(BATCH, json={"rows": json_rows(table()), "explain": 3}).json()
        answer = send(server, body, kind, query="?explain=3")
        assert answer.status_code == 200, answer.text
    given = answer.json()
    for one in (*by_row["predictions"], *given["predictions"]):
        del one["prediction_id"], one["time"]
        for listed in one["contributions"]:  # a time has many spellings
            del listed["value"]
    assert given == by_row
    first, second = records(state)[:N], records(state)[N:]
    same = [(p.score, p.version, p.entity, p.columns, p.row) for p in first]
    assert [(p.score, p.version, p.entity, p.columns, p.row) for p in second] == same


def test_an_answer_in_arrow_says_what_the_one_in_json_says(churn: Served) -> None:
    body = arrow(table())
    spoken = send(churn, body, ARROW, query="?explain=2").json()
    answer = send(churn, body, ARROW, query="?explain=2", accept=f"{ARROW}, {JSON};q=0.5")
    assert answer.headers["content-type"] == ARROW
    read = pa.ipc.open_stream(answer.content).read_all()
    for name in ("probability", "label", "margin", "rest"):
        assert read[name].to_pylist() == [one[name] for one in spoken["predictions"]]
    listed = [[c["contribution"] for c in one] for one in read["contributions"].to_pylist()]
    assert listed == [
        [c["contribution"] for c in one["contributions"]] for one in spoken["predictions"]
    ]
    about = read.schema.metadata
    assert (about[b"model"], about[b"version"]) == (b"churn", b"1")
    assert float(about[b"base"]) == spoken["base"]
    plain = send(
        churn, b'{"rows": []}'.replace(b"[]", b"[" + row_json() + b"]"), JSON, accept=ARROW
    )
    assert pa.ipc.open_stream(plain.content).read_all().num_rows == 1


def row_json() -> bytes:
    import msgspec

    return msgspec.json.encode(ROW)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", JSON),
        ("application/*", JSON),
        (f"*/*, {ARROW}", ARROW),
        (f"{JSON};q=0.2, {ARROW};q=0.1", JSON),
        ("text/html", None),
        (f"{JSON};q=0", None),
        (f"{JSON};q=x", None),
    ],
)
def test_the_answer_has_the_form_that_the_client_likes_best(
    churn: Served, accept: str, kind: str | None
) -> None:
    answer = send(churn, arrow(table(2)), ARROW, accept=accept)
    assert answer.status_code == (406 if kind is None else 200)
    assert answer.headers["content-type"] == (kind or JSON)


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("age", [41, -1], (1, "a whole number", "a whole number, at least 0, at most 120")),
        ("age", [41, None], (1, "null", "a whole number, at least 0, at most 120")),
        ("age", [41.5, 41.0], (0, "a number", "a whole number, at least 0, at most 120")),
        ("age", ["41", "41"], (0, "a text", "a whole number, at least 0, at most 120")),
        ("balance", [1.0, float("inf")], (1, "a number that is not finite", "a finite number")),
        ("balance", [2**60, 1], (0, "a larger number", "a number within 2**53")),
        ("job", ["nurse", "pilot"], (1, "a text", "one of clerk, nurse, smith")),
        ("owner", [[True], [False]], (None, "a column of list<", "true or false")),
        ("job", [b"nurse", b"nurse"], (None, "a column of binary", "one of clerk, nurse, smith")),
        ("wage", [1, 2], (None, "a column", "no such field; it is not in the contract")),
        ("churned", ["yes", "no"], (None, "a column", "not to be sent")),
    ],
)
@pytest.mark.parametrize("kind", [ARROW, PARQUET])
def test_what_does_not_fit_is_named_by_column_and_row(
    churn: Served, column: str, values: list[Any], problem: tuple[Any, ...], kind: str
) -> None:
    given = table(2)
    if column in given.column_names:
        given = given.drop_columns([column])
    given = given.append_column(column, pa.array(values))
    answer = send(churn, arrow(given) if kind == ARROW else parquet(given), kind)
    assert answer.status_code == 422, answer.text
    named = [p for p in answer.json()["error"]["problems"] if p["field"] == column]
    row, shown, expected = problem
    assert named[0].get("row") == row
    assert named[0]["given"].startswith(shown)
    assert named[0]["expected"].startswith(expected)


def test_everything_that_is_wrong_is_named_at_once(churn: Served) -> None:
    given = table(3).drop_columns(["owner"]).append_column("wage", pa.array([1, 2, 3]))
    given = given.set_column(0, "age", pa.array([-1, 41, 500]))
    problems = send(churn, parquet(given), PARQUET).json()["error"]["problems"]
    assert [(p.get("row"), p["field"]) for p in problems] == [
        (None, "wage"),
        (None, "owner"),
        (0, "age"),
        (2, "age"),
    ]


def test_values_of_every_plain_type_are_read(churn: Served) -> None:
    given = pa.table(
        {
            "age": pa.array([41.0, 42.0], pa.float32()),
            "balance": pa.array([Decimal("1.25"), None], pa.decimal128(5, 2)),
            "job": pa.array(["nurse", "nurse"]).dictionary_encode(),
            "town": pa.array([1, 2], pa.uint64()),
            "owner": pa.array(["yes", "NO"]),
            "joined": pa.array([date(2024, 5, 1), None], pa.date32()),
            "at": pa.array([1_700_000_000_000_000_001, 0], pa.timestamp("ns")),
            "customer": pa.array([2**60, 7]),
            "note": pa.array([[1], [2]]),
        }
    )
    answer = send(churn, arrow(given), ARROW)
    assert answer.status_code == 200, answer.text
    last = sorted(records(churn.state), key=lambda p: p.id)[-2:]
    assert [p.entity for p in last] == [str(2**60), "7"]
    assert last[0].row[:6] == (41.0, 1.25, "nurse", 1, "yes", "2024-05-01T00:00:00+00:00")
    assert last[0].time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


def test_a_time_that_no_text_could_say_is_refused(churn: Served) -> None:
    given = table(1).drop_columns(["joined"])
    given = given.append_column("joined", pa.array([2**61], pa.timestamp("s")))
    [problem] = send(churn, arrow(given), ARROW).json()["error"]["problems"]
    assert problem["given"] == "a time beyond the years 1 to 9999"


@pytest.mark.parametrize("space", ["margin", "probability"])
def test_all_contributions_in_either_space_add_up_in_tables_too(churn: Served, space: str) -> None:
    query = f"?explain=all&space={space}"
    spoken = send(churn, arrow(table()), ARROW, query=query)
    assert spoken.status_code == 200, spoken.text
    base, rows = spoken.json()["base"], spoken.json()["predictions"]
    given = {"rows": json_rows(table()), "explain": "all", "space": space}
    in_json = churn.post(BATCH, json=given).json()
    assert base == in_json["base"]
    for row, same in zip(rows, in_json["predictions"], strict=True):
        assert row["contributions"] == same["contributions"]
        total = base + sum(c["contribution"] for c in row["contributions"]) + row["rest"]
        assert total == pytest.approx(row[space], abs=1e-12)
    answer = send(churn, arrow(table()), ARROW, query=query, accept=ARROW)
    assert len(pa.ipc.open_stream(answer.content).read_all()["contributions"][0]) == 6


@pytest.mark.parametrize("accept", [JSON, ARROW])
def test_tables_are_put_into_the_words_of_rows(churn: Served, accept: str) -> None:
    answer = send(churn, arrow(table()), ARROW, query="?sentence=true", accept=accept)
    if accept == ARROW:
        said = pa.ipc.open_stream(answer.content).read_all()["sentence"].to_pylist()
    else:
        said = [row["sentence"] for row in answer.json()["predictions"]]
    same = churn.post(BATCH, json={"rows": json_rows(table()), "sentence": True}).json()
    assert said == [row["sentence"] for row in same["predictions"]]


@pytest.mark.parametrize(
    "query",
    [
        "?explain=-1",
        "?explain=x",
        "?rows=3",
        "?explain=1&explain=",
        "?space=x",
        "?sentence=1",
        "?sentence=true&explain=0",
        "?class=yes",
    ],
)
def test_a_query_of_another_form_is_refused(churn: Served, query: str) -> None:
    for body, kind in (
        (arrow(table(1)), ARROW),
        (msgspec.json.encode({"rows": json_rows(table(1))}), JSON),
    ):
        assert send(churn, body, kind, query=query).status_code == 422


def test_the_query_goes_over_what_a_body_of_json_says(churn: Served) -> None:
    said = {"rows": json_rows(table()), "explain": 1}
    body = msgspec.json.encode(said)
    for query, n in (("", 1), ("?explain=3", 3), ("?explain=0", None)):
        answer = send(churn, body, JSON, query=query).json()
        found = [row.get("contributions") for row in answer["predictions"]]
        assert [None if listed is None else len(listed) for listed in found] == [n] * len(found)


@pytest.mark.parametrize("kind", ["text/csv", f"{ARROW}; charset=utf-8", "application/x-parquet"])
def test_other_types_of_bodies_are_refused(churn: Served, kind: str) -> None:
    assert send(churn, arrow(table(1)), kind).status_code == 415
    assert (
        churn.post(
            "/v1/models/churn/predict", content=arrow(table(1)), headers={"content-type": ARROW}
        ).status_code
        == 415
    )


# -- bombs ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that unpacks at most two megabytes, and takes at most 1,000 rows."""
    state = tmp_path_factory.mktemp("state")
    deploy(state, 1)
    with Served(create_app(state, limits=Limits(body_bytes=200_000, rows=1000))) as server:
        yield server


def towns(text: str, n: int) -> pa.Table:
    given = table(n).drop_columns(["town"])
    return given.append_column("town", pa.array([text] * n))


def town_codes(text: str, n: int) -> pa.Table:
    given = table(n).drop_columns(["town"])
    return given.append_column("town", pa.array([text] * n).dictionary_encode())


SHARED_BEGINNINGS: dict[str, Any] = {
    "use_dictionary": False,
    "column_encoding": {"town": "DELTA_BYTE_ARRAY"},
    "compression": "zstd",
    "rows": 900,
}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (PARQUET, parquet(table(1001), rows=1001, compression="zstd")),
        (ARROW, arrow(table(1001))),
        (PARQUET, parquet(towns("x" * 3_000_000, 1), compression="zstd", use_dictionary=False)),
        (PARQUET, parquet(towns("x" * 30_000, 900), rows=900, compression="zstd")),
        (ARROW, arrow(town_codes("x" * 30_000, 900))),
        (ARROW, arrow(towns("x" * 3_000, 900), rows=900, compression="zstd")),
    ],
    ids=["rows", "arrow rows", "long", "repeated", "dictionary", "compressed"],
)
def test_a_small_body_that_unpacks_to_much_is_refused(
    narrow: Served, kind: str, body: bytes
) -> None:
    assert len(body) < 200_000
    answer = send(narrow, body, kind)
    assert answer.status_code == 413, answer.text


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (PARQUET, parquet(towns("x" * 300_000_000, 1), compression="zstd", use_dictionary=False)),
        (PARQUET, parquet(towns("x" * 30_000, 900), **SHARED_BEGINNINGS)),
        (ARROW, arrow(towns("x" * 300_000_000, 1), compression="zstd")),
    ],
    ids=["parquet", "beginnings", "arrow"],
)
def test_a_bomb_bursts_in_the_child_and_the_next_table_is_read(
    narrow: Served, kind: str, body: bytes
) -> None:
    assert len(body) < 200_000
    assert send(narrow, body, kind).status_code in (400, 413)
    assert send(narrow, arrow(table(3)), ARROW).status_code == 200


def test_rows_are_counted_whatever_the_footer_says_of_them(narrow: Served) -> None:
    body = parquet(table(5000), rows=5000)
    footer = len(body) - 8 - int.from_bytes(body[-8:-4], "little")
    field = b"\x16"  # i64, the number of the last field plus one; then the zigzag code of a varint
    at = body.index(field + bytes([10_000 & 127 | 128, 10_000 >> 7]), footer)
    few = body[: at + 1] + bytes([1_000 & 127 | 128, 1_000 >> 7]) + body[at + 3 :]
    assert pq.ParquetFile(io.BytesIO(few)).metadata.num_rows == 500
    answer = send(narrow, few, PARQUET)
    assert answer.status_code == 413, answer.text
    assert "at most 1,000 are accepted" in answer.json()["error"]["message"]


def test_more_tables_than_can_wait_are_to_be_sent_again(state: Path) -> None:
    headers = {"content-type": ARROW}
    with Served(create_app(state)) as server:

        async def all_at_once() -> list[httpx.Response]:
            body = arrow(table(3))
            sent = (
                server.client.post(BATCH, content=body, headers=headers)
                for _ in range(MOST_WAITING + 2)
            )
            return await asyncio.gather(*sent)

        answers = server.run(all_at_once())
        assert [a.status_code for a in answers] == [200] * MOST_WAITING + [503] * 2
        assert answers[-1].headers["retry-after"] == "1"
        assert "try again" in answers[-1].json()["error"]["message"]
        assert send(server, arrow(table(3)), ARROW).status_code == 200


def test_a_table_that_takes_too_long_is_given_up(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gyroscope.serve.table_reader._LONGEST_S", 0.0)
    with Served(create_app(state)) as server:
        assert send(server, arrow(table(3)), ARROW).status_code == 400


def test_an_arrow_file_is_told_from_a_stream(churn: Served) -> None:
    sink = io.BytesIO()
    with pa.ipc.new_file(sink, table(1).schema) as writer:
        writer.write_table(table(1))
    answer = send(churn, sink.getvalue(), ARROW)
    assert answer.status_code == 400
    assert "it is an Arrow file, write it as a stream" in answer.json()["error"]["message"]


# By Polars 2.1.0, of pl.DataFrame({"job": ["clerk"], "age": pl.Series([41], dtype=pl.Int128)}).
WIDE = {
    kind: base64.b64decode(Path(__file__).with_name("tables").joinpath(name).read_text("ascii"))
    for kind, name in ((ARROW, "int128-arrow.txt"), (PARQUET, "int128-parquet.txt"))
}


@pytest.mark.parametrize("kind", [ARROW, PARQUET])
def test_a_column_of_integers_too_wide_for_arrow_is_named(churn: Served, kind: str) -> None:
    answer = send(churn, WIDE[kind], kind)
    assert answer.status_code == 422, answer.text
    (problem,) = answer.json()["error"]["problems"]
    assert problem == {
        "row": None,
        "field": "age",
        "given": "a column of integers of more than 64 bits",
        "expected": "a whole number, at least 0, at most 120",
    }


@pytest.mark.parametrize("kind", [ARROW, PARQUET])
def test_a_schema_that_leads_astray_names_nothing_or_a_column(kind: str) -> None:
    whole = WIDE[kind]
    assert wide_integers(whole) == ["age"]
    chance = random.Random(11)
    for _ in range(2_000):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        assert len(wide_integers(bytes(body[: chance.randrange(len(body))]))) <= 100


def test_offsets_that_point_elsewhere_are_refused(churn: Served) -> None:
    body = bytearray(arrow(table(1).select(["job"])))
    at = body.rindex(b"clerk")
    offsets = body.rindex(struct.pack("<ii", 0, 5), 0, at)
    body[offsets : offsets + 8] = struct.pack("<ii", 0, 2**30)
    assert send(churn, bytes(body), ARROW).status_code == 400


@pytest.mark.parametrize("kind", [ARROW, PARQUET])
def test_no_spoilt_table_is_answered_with_a_5xx(narrow: Served, kind: str) -> None:
    whole = arrow(table(3)) if kind == ARROW else parquet(table(3))
    chance = random.Random(7)
    for _ in range(60):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        body = body[: chance.randrange(len(body))] if chance.random() < 0.3 else body
        answer = send(narrow, bytes(body), kind)
        assert answer.status_code < 500, answer.text
