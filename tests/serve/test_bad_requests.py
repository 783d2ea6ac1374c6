"""Bad input: always a 4xx in one shape that names the field, never a record, never a log line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.serve.conftest import ROW, Served, deploy

from gyroscope.prediction_log import FileLog
from gyroscope.serve.app import create_app
from gyroscope.serve.http import ErrorBody, Limits


@pytest.fixture(scope="module")
def churn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for many bad requests."""
    state = tmp_path_factory.mktemp("state")
    deploy(state, 1)
    limits = Limits(body_bytes=2_000_000, rows=20)
    with Served(create_app(state, limits=limits)) as server:
        yield server


def nothing_on_record(state: Path) -> bool:
    log = FileLog(state / "log" / "churn")
    empty = log.span() is None
    log.close()
    return empty


def with_field(name: str, text: str) -> bytes:
    """A request whose row has this JSON text in one field."""
    fields = {key: json.dumps(value) for key, value in ROW.items()} | {name: text}
    return b'{"row": {%s}}' % ", ".join(f'"{k}": {v}' for k, v in fields.items()).encode()


FIELDS = [
    # field, its JSON text, status, part of what is expected instead
    ("age", "NaN", 400, "a finite number"),
    ("balance", "Infinity", 400, "a finite number"),
    ("balance", "-Infinity", 400, "a finite number"),
    ("balance", "1e999", 400, "a finite number"),
    ("balance", "-1e999", 400, "a finite number"),
    ("town", '"\\ud800"', 400, "text in Unicode"),
    ("age", "-1", 422, "at least 0"),
    ("age", "121", 422, "at most 120"),
    ("age", "41.5", 422, "a whole number"),
    ("age", '"41"', 422, "a whole number"),
    ("age", "true", 422, "a whole number"),
    ("age", "null", 422, "a whole number"),
    ("age", "[41]", 422, "a text, a number, true, false or null"),
    ("age", '{"value": 41}', 422, "a text, a number, true, false or null"),
    ("age", "9007199254740993", 422, "within 2**53"),
    ("balance", "-9007199254740993", 422, "within 2**53"),
    ("balance", "9" * 400, 422, "within 2**53"),
    ("balance", "9" * 5000, 422, "within 2**53"),
    ("balance", '"12"', 422, "a finite number or null"),
    ("job", '"secret"', 422, "one of clerk, nurse, smith"),
    ("job", "null", 422, "one of clerk"),
    ("owner", '"perhaps"', 422, "true or false"),
    ("joined", '"soon"', 422, "a time like"),
    ("joined", "20260131", 422, "a time like"),
    ("at", '"soon"', 422, "a time like"),
    ("sex", '"secret"', 422, "one of f, m"),
    ("churned", '"yes"', 422, "it is what the model predicts"),
    ("colour", '"secret"', 422, "no such field"),
]


KINDS = {
    *("null", "true or false", "a whole number", "a number", "a number that is not finite"),
    *("a larger number", "a text", "a blank text", "an object", "a list"),
    *("the field twice", "half of a surrogate pair"),
}


@pytest.mark.parametrize(("field", "text", "status", "expected"), FIELDS)
def test_a_value_that_does_not_fit_is_answered_with_its_field(
    churn: Served, field: str, text: str, status: int, expected: str
) -> None:
    answer = churn.predict(with_field(field, text))
    assert answer.status_code == status
    error = answer.json()["error"]
    [problem] = error["problems"]
    assert (problem["row"], problem["field"]) == (0, field)
    assert expected in problem["expected"]
    assert problem["given"] in KINDS, "what came is said, not its value"
    assert field in error["message"]


def test_a_field_that_is_missing_is_named(churn: Served) -> None:
    row = {name: value for name, value in ROW.items() if name not in ("age", "balance")}
    problems = churn.predict({"row": row}).json()["error"]["problems"]
    assert [(p["field"], p["given"]) for p in problems] == [
        ("age", "nothing"),
        ("balance", "nothing"),
    ]


def test_every_bad_field_of_every_row_is_named_at_once(churn: Served) -> None:
    bad: dict[str, Any] = {**ROW, "age": 2**60, "job": ["nurse"], "town": 1.5, "colour": "red"}
    answer = churn.predict({"rows": [ROW, bad, {**ROW, "owner": "x"}]})
    assert answer.status_code == 422
    problems = [(p["row"], p["field"]) for p in answer.json()["error"]["problems"]]
    assert sorted(problems) == [(1, "age"), (1, "colour"), (1, "job"), (1, "town"), (2, "owner")]


def test_every_number_that_is_not_finite_is_named_at_once(churn: Served) -> None:
    body = b'{"rows": [{"age": NaN, "balance": 1e999}, {"job": -Infinity}]}'
    answer = churn.predict(body)
    assert answer.status_code == 400
    problems = [(p["row"], p["field"], p["given"]) for p in answer.json()["error"]["problems"]]
    infinite = "a number that is not finite"
    assert problems == [(0, "age", infinite), (0, "balance", infinite), (1, "job", infinite)]


BODIES = [
    # body, status, part of the message or of a problem
    (b"", 400, "malformed JSON at byte 0"),
    (b"\xef\xbb\xbf{}", 400, "malformed JSON at byte 0"),
    (b'{"row": {"age": 41', 400, "malformed JSON at byte 18"),
    ('{"rów": {"age": x}}'.encode(), 400, "malformed JSON at byte 17"),
    (b'{"row": {"age": 041}}', 400, "malformed JSON at byte 17"),
    (b'{"row": {"town": "a\nb"}}', 400, "malformed JSON at byte 19"),
    (b"{'row': {}}", 400, "malformed JSON at byte 1"),
    (b'{"row": {}} {}', 400, "malformed JSON at byte 12"),
    (b'{"row": {"town": "\xff"}}', 400, "not UTF-8: wrong byte at 18"),
    (b'{"row": {"town": "\xed\xa0\x80"}}', 400, "not UTF-8: wrong byte at 18"),
    (b'{"row": {"\\udc00": 1}}', 400, "half of a surrogate pair"),
    (b"[" * 100_000, 400, "nested too deeply"),
    (b'{"row":' * 100_000, 400, "nested too deeply"),
    (b'{"row": {"age": %s}}' % (b"[" * 100_000 + b"]" * 100_000), 400, "nested too deeply"),
    (b'{"row": {"age": 1, "age": 1}}', 400, "each field once"),
    (b'{"row": {"age": 1, "\\u0061ge": 1}}', 400, "each field once"),
    (b'{"row": {}, "row": {}}', 400, "each field once"),
    (b'{"rows": [{"town": "a:b", "town": "c:d"}]}', 400, "each field once"),
    (b'{"explain": 1, "row": {}, "explain": 2}', 400, "each field once"),
    (b"NaN", 400, "a finite number"),
    (b"null", 422, 'an object with "row" or "rows"'),
    (b"[]", 422, 'an object with "row" or "rows"'),
    (b'"row"', 422, 'an object with "row" or "rows"'),
    (b"{}", 422, 'give either "row", an object, or "rows"'),
    (b'{"row": {}, "rows": []}', 422, 'give either "row", an object, or "rows"'),
    (b'{"row": []}', 422, "an object of fields"),
    (b'{"row": null}', 422, "an object of fields"),
    (b'{"rows": {}}', 422, "a list of objects"),
    (b'{"rows": []}', 422, "rows is empty"),
    (b'{"rows": [1, null]}', 422, "an object of fields"),
    (b'{"row": {}, "explain": "most"}', 422, 'a whole number of contributions, or "all"'),
    (b'{"row": {}, "space": "logit"}', 422, '"margin" or "probability"'),
    (b'{"row": {}, "space": ["margin"]}', 422, '"margin" or "probability"'),
    (b'{"row": {}, "sentence": 1}', 422, "true or false"),
    (b'{"row": {}, "explain": true}', 422, "a whole number of contributions"),
    (b'{"row": {}, "explain": 1.5}', 422, "a whole number of contributions"),
    (
        b'{"row": {}, "explane": 2}',
        422,
        "known: class, explain, row, rows, sentence, space",
    ),
    (b'{"rows": [%s]}' % b", ".join([b"{}"] * 21), 413, "at most 20 are accepted"),
    (b'{"rows": [%s]}' % b", ".join([b"[]"] * 21), 413, "at most 20 are accepted"),
    (b'{"row": {"note": "%s"}}' % (b"x" * 2_000_000), 413, "at most 2,000,000 bytes"),
]


@pytest.mark.parametrize(("body", "status", "says"), BODIES)
def test_a_body_that_is_no_request_is_refused(
    churn: Served, body: bytes, status: int, says: str
) -> None:
    answer = churn.predict(body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert says in error["message"] or any(says in p["expected"] for p in error["problems"])


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=latin-1",
        "application/jsonx",
    ],
)
def test_anything_but_json_is_refused_by_its_type(churn: Served, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    body = json.dumps({"row": ROW}).encode()
    answer = churn.post("/v1/models/churn/predict", content=body, headers=headers)
    assert answer.status_code == 415
    assert "application/json" in answer.json()["error"]["message"]


def test_a_compressed_body_is_refused(churn: Served) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    answer = churn.post("/v1/models/churn/predict", content=b"\x1f\x8b", headers=headers)
    assert answer.status_code == 415


@pytest.mark.parametrize("content_type", ["application/json", 'Application/JSON; charset="UTF-8"'])
def test_json_is_accepted_however_its_type_is_spelled(served: Served, content_type: str) -> None:
    body = json.dumps({"row": ROW}).encode()
    answer = served.post(
        "/v1/models/churn/predict", content=body, headers={"content-type": content_type}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/churn/predict", 405),
        ("PUT", "/v1/models/churn/labels", 405),
        ("POST", "/v1/models", 405),
        ("DELETE", "/healthz", 405),
        ("POST", "/v1/models/other/predict", 404),
        ("POST", "/v1/models/../predict", 404),
        ("POST", "/v1/models/churn/predict/", 404),
        ("GET", "/v1/models/other", 404),
        ("GET", "/docs/assets/../../secret", 404),
        ("GET", "/nothing", 404),
        ("GET", "/", 404),
    ],
)
def test_an_unknown_path_or_method_is_refused_in_the_one_shape(
    churn: Served, method: str, path: str, status: int
) -> None:
    answer = churn.request(method, path)
    assert answer.status_code == status
    error = msgspec.json.decode(answer.content, type=ErrorBody, strict=True).error
    assert error.request_id == answer.headers["x-request-id"]
    assert answer.headers["content-type"] == "application/json"
    assert (status == 405) == ("allow" in answer.headers)


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1:2.3_", True), ("a b", False), ("x" * 65, False)]
)
def test_a_sane_request_id_of_the_client_comes_back(churn: Served, given: str, kept: bool) -> None:
    answer = churn.get("/nothing", headers={"x-request-id": given})
    assert (answer.headers["x-request-id"] == given) == kept
    assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


def test_problems_are_listed_up_to_a_thousand(state: Path) -> None:
    with Served(create_app(state)) as server:
        error = server.predict({"rows": [{}] * 500}).json()["error"]
    assert len(error["problems"]) == 1000
    assert "the first 1000 of 3000 problems are listed" in error["message"]


def test_values_of_refused_rows_are_in_no_log(
    churn: Served, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for field, text, _, _ in FIELDS:
        churn.predict(with_field(field, text.replace("yes", "secret")))
    out, err = capfd.readouterr()
    assert "secret" not in caplog.text + out + err


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["nurse", "2026-01-31", "?", "yes"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from([*ROW, "at", "customer", "sex", "note", "churned"]) | st.text()
requests = st.fixed_dictionaries(
    {},
    optional={
        "row": st.dictionaries(names, values) | values,
        "rows": st.lists(st.dictionaries(names, values), max_size=3) | values,
        "explain": values,
        "prediction_id": values,
        "label": values,
        "labels": values,
    },
)
spoilt = st.sampled_from([b"", b"\xff", b"\\", b'"', b"{", b"1e999", b"\\ud800", b":", b"NaN"])


def documents(given: Any) -> bytes:
    return json.dumps(given).encode()


@given(body=st.binary(max_size=200) | requests.map(documents) | values.map(documents))
@settings(deadline=None, max_examples=250)
def test_no_body_whatever_is_answered_with_a_5xx_or_put_on_record(
    churn: Served, body: bytes
) -> None:
    for answer in (churn.predict(body), churn.label(body)):
        if b'"accepted":0' not in answer.content:  # a label nobody asked about is no error
            assert 400 <= answer.status_code < 500, answer.text
            msgspec.json.decode(answer.content, type=ErrorBody)


@given(data=st.data())
@settings(deadline=None, max_examples=100)
def test_no_spoilt_request_is_answered_with_a_5xx(churn: Served, data: st.DataObject) -> None:
    body = json.dumps({"row": {**ROW, "age": -1}}).encode()
    at = data.draw(st.integers(0, len(body)))
    cut = data.draw(st.integers(0, 5))
    answer = churn.predict(body[:at] + data.draw(spoilt) + body[at + cut :])
    assert 400 <= answer.status_code < 500


@pytest.fixture(scope="module", autouse=True)
def never_on_record(churn: Served) -> Iterator[None]:
    """Whatever was refused in this file, nothing of it is in the log in the end."""
    yield
    assert nothing_on_record(churn.state)
