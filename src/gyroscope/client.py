"""A client of a running server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from gyroscope.errors import FieldProblem, RequestError
from gyroscope.model import Value

_TIMEOUT_S = 60.0


class Client:
    """Speaks to the server at ``url`` over one kept connection; use it as a context manager."""

    def __init__(self, url: str, *, key: str | None = None) -> None:
        import httpx

        self.url = url
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S)

    def predict(
        self, model: str, rows: Sequence[Mapping[str, Value]], *, explain: int = 0
    ) -> list[dict[str, Any]]:
        """Predictions for rows, in their order, each with its ``prediction_id``.

        Raises:
            RequestError: the server refused them; ``problems`` names the fields.
        """
        answer = self._post(f"/v1/models/{model}/predict", {"rows": rows, "explain": explain})
        predictions: list[dict[str, Any]] = answer["predictions"]
        return predictions

    def label(self, model: str, labels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Send labels: mappings with ``prediction_id``, ``label`` and, if known, ``time``.

        Returns what the server accepted and which ids it does not know; raises RequestError.
        """
        return self._post(f"/v1/models/{model}/labels", {"labels": labels})

    def get(self, path: str) -> dict[str, Any]:
        """Any readable resource, such as ``/v1/models``; raises RequestError."""
        return self._answer("GET", path)

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._answer("POST", path, json=body)

    def _answer(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        import httpx

        try:
            response = self._http.request(method, path, **request)
        except httpx.TransportError as failure:
            raise RequestError(503, f"no answer from {self.url}: {failure}") from None
        answer: dict[str, Any] = response.json()
        if response.is_success:
            return answer
        error = answer["error"]
        problems = [
            FieldProblem(
                row=problem.get("row"),
                field=problem["field"],
                given=problem["given"],
                expected=problem["expected"],
            )
            for problem in error.get("problems", [])
        ]
        raise RequestError(response.status_code, _message(error["message"], problems), problems)

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


def _message(message: str, problems: Sequence[FieldProblem]) -> str:
    shown = [
        f"row {p.row}, {p.field}: given {p.given}, expected {p.expected}" for p in problems[:3]
    ]
    return "; ".join([message, *shown])
