"""A client of a running server."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self

from gyroscope.errors import FieldProblem, RequestError, RowError, UsageError

_TIMEOUT_S = 60.0


class Client:
    """Speaks to the server at ``url`` over one kept connection; use it as a context manager.

    Raises UsageError if ``url`` is none.
    """

    def __init__(self, url: str, *, key: str | None = None) -> None:
        import httpx

        self.url = url
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        try:
            self._http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S)
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
    ) -> list[dict[str, Any]]:
        """Predictions for rows, in their order, each with its ``prediction_id``.

        ``explain`` says how many contributions to list. Then there are also ``base`` and ``rest``,
        which with the contributions add up to the margin, or in the other ``space`` to the
        probability, and with ``sentence`` the prediction in words.

        NaN and the missing values of pandas are sent as null; scalars of NumPy as what they hold.

        Raises:
            RowError: a value is infinite or of a type that JSON has not; nothing was sent.
            RequestError: the server refused them; ``problems`` names the fields.
        """
        sent = [_plain_row(i, row) for i, row in enumerate(rows)]
        asked: dict[str, Any] = {"rows": sent, "explain": explain}
        if explain:
            asked |= {"space": space, "sentence": sentence}
        answer = self._post(f"/v1/models/{model}/predict", asked)
        predictions: list[dict[str, Any]] = answer["predictions"]
        base = {"base": answer["base"]} if "base" in answer else {}
        return [{**prediction, **base} for prediction in predictions]

    def label(self, model: str, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send labels: mappings with ``prediction_id``, ``label`` and, if known, ``time``.

        Returns what the server accepted and which ids it does not know; raises as :meth:`predict`.
        """
        sent = [_plain_row(i, label) for i, label in enumerate(labels)]
        return self._post(f"/v1/models/{model}/labels", {"labels": sent})

    def get(self, path: str) -> dict[str, Any]:
        """Any readable resource, such as ``/v1/models``; raises RequestError."""
        return self._answer("GET", path)

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._answer("POST", path, content=json.dumps(body).encode())

    def _answer(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        import httpx

        try:
            response = self._http.request(method, path, **request)
        except httpx.TransportError as failure:
            raise RequestError(503, f"no answer from {self.url}: {failure}") from None
        try:
            answer: dict[str, Any] = response.json()
            if response.is_success:
                return answer
            error = answer["error"]
            problems = [_problem(problem) for problem in error.get("problems", [])]
            message = _message(error["message"], problems)
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RequestError(
                502,
                f"{self.url} answered {response.status_code} in a form that is not Gyroscope's: "
                "is it the address of the server?",
            ) from None
        raise RequestError(response.status_code, message, problems)

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


def _plain_row(i: int, row: Mapping[str, Any]) -> dict[str, Any]:
    plain = {}
    for name, value in row.items():
        try:
            plain[name] = _plain(value)
        except ValueError:
            expected = "a text, a finite number, true, false or null"
            problem = FieldProblem(row=i, field=name, given=repr(value)[:40], expected=expected)
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
