"""A client of a running server."""

from __future__ import annotations

import json
import math
import random
import re
import uuid
from collections.abc import Mapping, Sequence
from time import sleep
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from gyroscope.errors import FieldProblem, RequestError, RowError, UsageError

if TYPE_CHECKING:
    import httpx

_KEY = "Idempotency-Key"
_SENDABLE = re.compile("[!-~]{1,255}")  # what the server takes for one
_JSON, _ARROW = "application/json", "application/vnd.apache.arrow.stream"
_TRY_AGAIN = (429, 502, 503, 504)  # statuses that may pass
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0  # before another attempt; doubled with each


class Client:
    """Speaks to the server at ``url`` over kept connections; use it as a context manager.

    What may pass, such as a server that is being restarted, is tried again, with longer and longer
    pauses. Predictions carry a key by which the server knows them again, so that another attempt
    gets the same prediction and leaves no second record.

    Args:
        url: of the server, such as ``http://127.0.0.1:8712``.
        key: of the server, if it has one.
        timeout_s: for one attempt to connect, to send, or to get the next bytes of the answer.
        retries: attempts after the first one.

    Raises:
        UsageError: ``url`` is no address, or ``retries`` negative.
    """

    def __init__(
        self, url: str, *, key: str | None = None, timeout_s: float = 60.0, retries: int = 3
    ) -> None:
        import httpx

        if retries < 0:
            raise UsageError(f"retries must be 0 or more, got {retries}")
        self.url = url
        self._retries = retries
        headers = {"Content-Type": _JSON}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        try:
            self._http = httpx.Client(base_url=url, headers=headers, timeout=timeout_s)
        except (httpx.InvalidURL, ValueError) as error:
            raise UsageError(f"{url!r} is not the address of a server: {error}") from None

    def predict(
        self,
        model: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        explain: int | Literal["all"] = 0,
        space: Literal["margin", "probability"] = "margin",
        sentence: bool = False,
        of_class: str | None = None,
        request_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """Predictions for rows, in their order, each with its ``prediction_id``.

        ``explain`` says how many contributions to list. Then there are also ``base`` and ``rest``,
        which with the contributions add up to the margin, or in the other ``space`` to the
        probability, and with ``sentence`` the prediction in words. Of several classes the most
        probable one of each row is explained, or ``of_class``.

        NaN and the missing values of pandas are sent as null; scalars of NumPy as what they hold.
        ``request_id`` is a text of 1 to 255 visible ASCII characters, new if not given; with the
        same one for the same rows a program gets the same predictions within a day, even after it
        was started again.

        Raises:
            UsageError: ``request_id`` is none; nothing was sent.
            RowError: a value is infinite or of a type that JSON has not; nothing was sent.
            RequestError: the server refused them; ``problems`` names the fields.
        """
        asked: dict[str, Any] = {"rows": _plain_rows(rows), "explain": explain}
        if explain:
            asked |= {"space": space, "sentence": sentence}
            asked |= {} if of_class is None else {"class": of_class}
        headers = {_KEY: _key(request_id)}
        response = self._sent(f"/v1/models/{model}/predict", asked, headers=headers)
        answer = self._json(response)
        base = {"base": answer["base"]} if "base" in answer else {}
        try:
            return [{**base, **prediction} for prediction in answer["predictions"]]
        except (KeyError, TypeError):
            raise self._not_ours(response) from None

    def predict_table(
        self,
        model: str,
        table: Any,
        *,
        explain: int | Literal["all"] = 0,
        space: Literal["margin", "probability"] = "margin",
        sentence: bool = False,
        of_class: str | None = None,
        request_id: str | None = None,
    ) -> Any:
        """Predictions for the rows of a ``pyarrow.Table``, as another with the same rows.

        Its columns are prediction_id, time, probability and label, with several classes also
        probabilities; or value in place of the last two; and with ``sentence`` the prediction in
        words. See :meth:`predict` for the rest; raises UsageError and RequestError.
        """
        import pyarrow as pa

        asked: dict[str, str | int] = {"explain": explain, "space": space}
        asked |= {"sentence": "true"} if explain and sentence else {}
        asked |= {} if of_class is None else {"class": of_class}
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        response = self._response(
            "POST",
            f"/v1/models/{model}/predict-batch",
            params=asked,
            content=sink.getvalue().to_pybytes(),
            headers={
                "Content-Type": _ARROW,
                "Accept": _ARROW,
                _KEY: _key(request_id),
            },
        )
        if response.headers.get("content-type") != _ARROW:
            raise self._not_ours(response)
        try:
            return pa.ipc.open_stream(response.content).read_all()
        except pa.ArrowException:
            raise self._not_ours(response) from None

    def explain(
        self,
        model: str,
        rows: Sequence[Mapping[str, Any]],
        *,
        features: int | None = None,
        of_class: str | None = None,
        version: int | None = None,
    ) -> dict[str, Any]:
        """What would be predicted for rows, and why; nothing goes on record.

        ``features`` are listed for each row, all of them if not given. ``version`` may be the
        champion, the previous one, the canary or the challenger; whichever serves a row if not
        given. ``of_class`` and errors are those of :meth:`predict`.
        """
        body: dict[str, Any] = {"rows": _plain_rows(rows), "explain": features}
        body |= {} if of_class is None else {"class": of_class}
        query = {} if version is None else {"version": version}
        return self._post(f"/v1/models/{model}/explain", body, params=query)

    def label(self, model: str, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send labels: mappings with ``prediction_id``, ``label`` and, if known, ``time``.

        Returns what the server accepted and which ids it does not know; raises as :meth:`predict`.
        """
        return self._post(f"/v1/models/{model}/labels", {"labels": _plain_rows(labels)})

    def get(self, path: str) -> dict[str, Any]:
        """Any readable resource, such as ``/v1/models``; raises RequestError."""
        return self._json(self._response("GET", path))

    def _post(self, path: str, body: Mapping[str, Any], **request: Any) -> dict[str, Any]:
        return self._json(self._sent(path, body, **request))

    def _sent(self, path: str, body: Mapping[str, Any], **request: Any) -> httpx.Response:
        return self._response("POST", path, content=json.dumps(body).encode(), **request)

    def _response(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer of the server if it is no error; raises RequestError."""
        response = self._attempts(method, path, request)
        if response.is_success:
            return response
        try:
            error = response.json()["error"]
            problems = [_problem(problem) for problem in error.get("problems", [])]
            message = _message(error["message"], problems)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._not_ours(response) from None
        raise RequestError(response.status_code, message, problems)

    def _attempts(self, method: str, path: str, request: dict[str, Any]) -> httpx.Response:
        import httpx

        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                response = self._whole(self._http.build_request(method, path, **request))
            except httpx.TransportError as failure:
                if last or isinstance(failure, httpx.UnsupportedProtocol):
                    raise RequestError(503, f"no answer from {self.url}: {failure}") from None
                wait = _pause(attempt)
            else:
                if last or response.status_code not in _TRY_AGAIN:
                    return response
                wait = max(_pause(attempt), _asked_pause(response))
            sleep(wait)
        raise AssertionError("the last attempt ends the loop")

    def _whole(self, request: httpx.Request) -> httpx.Response:
        """One answer, read to its end."""
        import httpx

        response = self._http.send(request, stream=True)
        try:
            response.read()
        except httpx.DecodingError:  # it is not packed as its headers say
            raise self._not_ours(response) from None
        finally:
            response.close()
        return response

    def _json(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            raise self._not_ours(response) from None
        if not isinstance(answer, dict):
            raise self._not_ours(response)
        return answer

    def _not_ours(self, response: httpx.Response) -> RequestError:
        return RequestError(
            502,
            f"{self.url} answered {response.status_code} in a form that is not Gyroscope's: "
            "is it the address of the server?",
        )

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _key(request_id: str | None) -> str:
    if request_id is None:
        return uuid.uuid4().hex
    if not _SENDABLE.fullmatch(request_id):
        raise UsageError(
            f"request_id must be 1 to 255 visible ASCII characters, without blanks, got "
            f"{request_id[:40]!r}"
        )
    return request_id


def _pause(attempt: int) -> float:
    """Seconds before the attempt after this one, at random so that clients do not keep step.

    Source: Brooker (2015), "Exponential Backoff And Jitter", full jitter.
    """
    return random.uniform(0, min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt))


def _asked_pause(response: httpx.Response) -> float:
    """The seconds that the server asks to wait, up to the longest pause."""
    asked = response.headers.get("retry-after", "")
    return min(_LONGEST_WAIT_S, float(asked)) if asked.isdecimal() else 0.0


def _plain_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [_plain_row(i, row) for i, row in enumerate(rows)]


def _plain_row(i: int, row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {}
    for name, value in row.items():
        try:
            plain[name] = _plain(value)
        except ValueError:
            expected = "a text, a finite number, true, false or null"
            given = f"a value of type {type(value).__name__}"
            problem = FieldProblem(row=i, field=name, given=given, expected=expected)
            raise RowError([problem]) from None
    return plain


def _plain(value: Any) -> Any:
    """A value as JSON can carry it; raises ValueError."""
    if value is None or isinstance(value, str | int):
        return value
    if type(value).__name__ in ("NAType", "NaTType"):  # pandas, which is not imported here
        return None
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError
        return None if math.isnan(value) else value
    for method in ("item", "isoformat"):  # scalars of NumPy; dates and times
        if hasattr(value, method):
            return _plain(getattr(value, method)())
    raise ValueError


def _problem(given: Mapping[str, Any]) -> FieldProblem:
    return FieldProblem(
        row=given.get("row"),
        field=given["field"],
        given=given["given"],
        expected=given["expected"],
    )


def _message(message: str, problems: Sequence[FieldProblem]) -> str:
    shown = [
        f"row {p.row}, {p.field}: given {p.given}, expected {p.expected}" for p in problems[:3]
    ]
    return "; ".join([message, *shown])
