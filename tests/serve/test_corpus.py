"""A corpus of bodies, each in a file that is named after the status it must be answered with.

Whatever turns out to be read wrongly is added to it. The fuzzer begins with these bodies.
"""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from tests.serve.conftest import Served, deploy

from gyroscope.errors import RequestError
from gyroscope.prediction_log import FileLog
from gyroscope.serve.app import create_app
from gyroscope.serve.http import ErrorBody
from gyroscope.serve.requests import predict_request

CORPUS = sorted(Path(__file__).with_name("corpus").iterdir())


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_a_body_of_the_corpus_is_answered_as_its_name_says(churn: Served, path: Path) -> None:
    answer = churn.predict(path.read_bytes())
    status = int(path.name.partition("-")[0])
    assert answer.status_code == status, answer.text
    if status != 200:
        error = msgspec.json.decode(answer.content, type=ErrorBody).error
        assert error.message
        assert len(answer.content) < 2000, "an error does not repeat what it was given"


def test_what_is_answered_is_on_record_and_nothing_else(tmp_path: Path) -> None:
    deploy(tmp_path, 1)
    with Served(create_app(tmp_path)) as server:
        for path in CORPUS:
            server.predict(path.read_bytes())
    log = FileLog(tmp_path / "log" / "churn")
    found = len(log.read().predictions)
    log.close()
    assert found == sum(path.name.startswith("200-") for path in CORPUS)


@pytest.mark.slow
def test_spoilt_bodies_of_the_corpus_are_read_or_refused() -> None:
    """Bytes changed, cut out, doubled, or taken from another body: 40,000 of them."""
    bodies = [found for path in CORPUS if len(found := path.read_bytes()) < 2000]
    chance = random.Random(11)
    for _ in range(40_000):
        body = bytearray(chance.choice(bodies))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(body) + 1)
            match chance.randrange(4):
                case 0:
                    body[at:at] = bytes([chance.randrange(256)])
                case 1:
                    del body[at : at + chance.randint(1, 8)]
                case 2:
                    body[at:at] = body[at : at + chance.randint(1, 20)]
                case 3:
                    other = chance.choice(bodies)
                    start = chance.randrange(len(other) + 1)
                    body[at : at + 10] = other[start : start + 20]
        assert status_of(bytes(body)) in (200, 400, 413, 422)


def status_of(body: bytes) -> int:
    try:
        request = predict_request(body, 100)
    except RequestError as refused:
        return refused.status
    return 200 if request.rows else 500
