"""What can be read from the server: its models, and its own description."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import msgspec
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

import gyroscope
from gyroscope.errors import NotFoundError, RequestError
from gyroscope.serve.answers import ModelDetails, ModelList, ModelSummary
from gyroscope.serve.champions import ModelTable, ServedModel
from gyroscope.serve.http import (
    JSON_HEADERS,
    Headers,
    Limits,
    MethodError,
    error_answer,
    error_of_status,
    fault_answer,
)
from gyroscope.serve.openapi import Description, ref, responses

_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_DOCS_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gyroscope API</title>
<link rel="icon" href="/docs/assets/favicon.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="page"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/page.js"></script>
</body>
</html>
"""
_DOCS_SCRIPT = """SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#page",
  deepLinking: true,
  validatorUrl: null,
});
"""


def control_app(models: ModelTable, limits: Limits) -> FastAPI:
    """The routes that only read, and the description of all routes."""
    app = FastAPI(
        title="Gyroscope",
        version=gyroscope.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestError, _refused)
    app.add_exception_handler(NotFoundError, _refused)
    app.add_exception_handler(Exception, _failed)
    _add_models(app, models)
    _add_docs(app, Description(app, models, limits))
    return app


def _add_models(app: FastAPI, models: ModelTable) -> None:
    @app.get(
        "/v1/models",
        tags=["models"],
        summary="The models of this server",
        responses=responses("All models and their versions.", ref("ModelList")),
    )
    async def list_models() -> Response:
        return _json(ModelList(models=tuple(_summary(model) for model in models)))

    @app.get(
        "/v1/models/{model}",
        tags=["models"],
        summary="The champion of a model, with its contract",
        responses=responses("The champion.", ref("ModelDetails")),
    )
    async def describe_model(model: str) -> Response:
        return _json(_details(models[model]))


def _add_docs(app: FastAPI, description: Description) -> None:
    assets = Path(str(files("fastapi_offline"))) / "static"
    app.mount("/docs/assets", StaticFiles(directory=assets), name="docs-assets")

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return _json_response(description.document())

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(_DOCS_PAGE, headers={"content-security-policy": _DOCS_POLICY})

    @app.get("/docs/page.js", include_in_schema=False)
    async def docs_script() -> Response:
        return Response(_DOCS_SCRIPT, media_type="text/javascript")


def _summary(model: ServedModel) -> ModelSummary:
    champion = model.champion
    return ModelSummary(
        model=model.name,
        version=None if champion is None else champion.version,
        serving_since=None if champion is None else champion.since,
    )


def _details(model: ServedModel) -> ModelDetails:
    serving, previous = model.answering(), model.previous
    champion = serving.champion
    canary = None if serving.canary is None else serving.canary.canary
    manifest = champion.bundle.manifest
    return ModelDetails(
        model=model.name,
        version=champion.version,
        previous_version=None if previous is None else previous.version,
        serving_since=champion.since,
        family=manifest.family,
        task=champion.bundle.contract.task,
        threshold=manifest.threshold,
        unit=champion.bundle.unit,
        explains=champion.bundle.explains,
        metrics=manifest.metrics,
        canary_version=None if canary is None else canary.deployed.version,
        canary_percent=None if canary is None else canary.percent,
        snapshot=manifest.snapshot,
        trained_from=manifest.trained_from,
        trained_until=manifest.trained_until,
        contract=champion.bundle.contract,
    )


def _json(answer: msgspec.Struct) -> Response:
    return _json_response(msgspec.json.encode(answer))


def _json_response(body: bytes, status: int = 200, headers: Headers | None = None) -> Response:
    response = Response(body, status_code=status)
    response.raw_headers += [*JSON_HEADERS, *(headers or [])]
    return response


async def _refused(request: Request, error: Exception) -> Response:
    """An error raised on purpose, by a route or by the router, in the one shape."""
    request_id = request.state.request_id
    match error:
        case HTTPException(status_code=404):
            answer = error_of_status(404, "no such path; /docs lists the routes", request_id)
        case HTTPException(status_code=405):
            allowed = (error.headers or {}).get("allow", "GET")
            answer = error_answer(MethodError(request.method, allowed), request_id)
        case HTTPException():
            answer = error_of_status(error.status_code, error.detail, request_id)
        case RequestError() | NotFoundError():
            answer = error_answer(error, request_id)
    return _json_response(answer.body, answer.status, answer.headers)


async def _failed(request: Request, error: Exception) -> Response:
    """A fault of the server. The framework raises it again, and the edge puts it on the log."""
    answer = fault_answer(request.state.request_id)
    return _json_response(answer.body, answer.status)
