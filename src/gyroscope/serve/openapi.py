"""The OpenAPI document: each model's routes with the schema of its rows, from its contract."""

from __future__ import annotations

import inspect
import math
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gyroscope.bundle.explanation import Space
from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.model import Value
from gyroscope.serve import answers
from gyroscope.serve.champions import Champion, ModelTable
from gyroscope.serve.http import ErrorBody, Limits

Json = dict[str, Any]

_ABOUT = """Predictions with exact explanations, and the labels that come later.

A prediction is on record before it is answered. Send its `prediction_id` with the label once the
outcome is known. Every error has one shape and names each field that is at fault."""
_ANSWERS = (
    answers.Health,
    answers.LabelsAccepted,
    answers.ManyPredictions,
    answers.ModelDetails,
    answers.ModelList,
    answers.OnePrediction,
    answers.Readiness,
    ErrorBody,
)
_TYPES = {
    ColumnType.NUMBER: ["number"],
    ColumnType.INTEGER: ["integer"],
    ColumnType.BOOLEAN: ["boolean"],
    ColumnType.CATEGORY: ["string"],
    ColumnType.DATETIME: ["string"],
    ColumnType.TEXT: ["string", "integer"],
}
_EXAMPLE_TIME = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Description:
    """The document, made anew when a champion changes."""

    def __init__(self, app: FastAPI, models: ModelTable, limits: Limits) -> None:
        self._app, self._models, self._limits = app, models, limits
        self._made_for: list[Champion] | None = None
        self._document = b""

    def document(self) -> bytes:
        """The OpenAPI document in JSON."""
        champions = [model.champion for model in self._models if model.champion is not None]
        if champions != self._made_for:
            self._document = msgspec.json.encode(self._build(champions))
            self._made_for = champions
        return self._document

    def _build(self, champions: list[Champion]) -> Json:
        document: Json = get_openapi(
            title=self._app.title,
            version=self._app.version,
            description=_ABOUT,
            routes=self._app.routes,
        )
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas |= _answer_schemas()
        for champion in champions:
            name, contract = champion.deployed.model, champion.bundle.contract
            schemas[f"{name}.Row"] = row_schema(contract)
            path = f"/v1/models/{name}"
            document["paths"][f"{path}/predict"] = {"post": _predict(champion, self._limits)}
            document["paths"][f"{path}/labels"] = {"post": _labels(champion, self._limits)}
        return document


def ref(name: str) -> Json:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_content(schema: Json) -> Json:
    """The ``content`` of a body in JSON."""
    return {"content": {"application/json": {"schema": schema}}}


def responses(description: str, schema: Json) -> dict[int | str, Json]:
    """The answers of a route: the good one, and one shape for all others."""
    return {
        "200": {"description": description, **json_content(schema)},
        "default": {"description": "Any error.", **json_content(ref("ErrorBody"))},
    }


def _answer_schemas() -> Json:
    _, schemas = msgspec.json.schema_components(
        _ANSWERS, ref_template="#/components/schemas/{name}"
    )
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    return schemas


def _predict(champion: Champion, limits: Limits) -> Json:
    name, contract = champion.deployed.model, champion.bundle.contract
    row = ref(f"{name}.Row")
    options = _explain_options(champion)
    one = _object({"row": row, **options}, ["row"])
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": limits.rows}
    many = _object({"rows": rows, **options}, ["rows"])
    example = example_row(contract)
    examples = {
        "one": {"summary": "One row", "value": {"row": example}},
        "many": {"summary": "Many rows", "value": {"rows": [example, example], "explain": 2}},
    }
    either = {"oneOf": [ref("OnePrediction"), ref("ManyPredictions")]}
    return {
        "tags": [name],
        "operationId": f"predict_{name}",
        "summary": f"Predict with {name}, version {champion.version}",
        "requestBody": _body({"oneOf": [one, many]}, examples),
        "responses": responses(
            "The predictions, all on record, each by the version that serves its entity.", either
        ),
    }


def _explain_options(champion: Champion) -> Json:
    """What may stand beside the rows: how to explain them."""
    number = {"type": "integer", "minimum": 0, "maximum": len(champion.features)}
    return {
        "explain": {
            "oneOf": [number, {"const": "all"}],
            "description": "How many features to list with their contribution; 3 for one row and 0 "
            "for many if not given.",
        },
        "space": {
            "enum": list(get_args(Space)),
            "default": "margin",
            "description": "What the contributions add up to: the margin, in "
            f"{champion.bundle.link.unit}, or the probability.",
        },
        "sentence": {
            "type": "boolean",
            "default": False,
            "description": "Whether to put each prediction into words; explain must not be 0 then.",
        },
    }


def _labels(champion: Champion, limits: Limits) -> Json:
    name, contract = champion.deployed.model, champion.bundle.contract
    one = _object(
        {
            "prediction_id": {"type": "string", "minLength": 1},
            "label": {"enum": [*contract.positive, *contract.negative]},
            "time": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": "When the outcome became true; now if not given.",
            },
        },
        ["prediction_id", "label"],
    )
    labels = {"type": "array", "items": one, "minItems": 1, "maxItems": limits.rows}
    label = {
        "prediction_id": "019c12f4-5a80-7000-8000-000000000000",
        "label": contract.positive[0],
        "time": _EXAMPLE_TIME.isoformat(),
    }
    examples = {
        "one": {"summary": "One label", "value": label},
        "many": {"summary": "Many labels", "value": {"labels": [label]}},
    }
    return {
        "tags": [name],
        "operationId": f"label_{name}",
        "summary": f"Say what became of predictions of {name}",
        "description": "Labels may come late, in part and more than once: the last one counts.",
        "requestBody": _body({"oneOf": [one, _object({"labels": labels}, ["labels"])]}, examples),
        "responses": responses("What was put on record.", ref("LabelsAccepted")),
    }


def _object(properties: Json, required: list[str]) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _body(schema: Json, examples: Json) -> Json:
    content = {"schema": schema, "examples": examples}
    return {"required": True, "content": {"application/json": content}}


def row_schema(contract: Contract) -> Json:
    """The JSON schema of a row that fits the contract."""
    sent = [column for column in contract.columns if column.role is not Role.TARGET]
    schema = _object(
        {column.name: _column_schema(column) for column in sent},
        [column.name for column in contract.features],
    )
    return {**schema, "example": example_row(contract)}


def _column_schema(column: Column) -> Json:
    if column.role in (Role.IGNORED, Role.WEIGHT):
        return {"description": "May be sent; is not read."}
    nullable = column.nullable or column.role is not Role.FEATURE
    schema: Json = {"type": [*_TYPES[column.type], *(["null"] if nullable else [])]}
    if column.type is ColumnType.CATEGORY and column.unknown == "reject":
        schema["enum"] = [*column.categories, *([None] if nullable else [])]
    if column.type is ColumnType.DATETIME and column.format is None:
        schema["format"] = "date-time"
    low, high = column.limits or (None, None)
    schema |= {} if low is None else {"minimum": low}
    schema |= {} if high is None else {"maximum": high}
    description = _column_description(column)
    return {**schema, "description": description} if description else schema


def _column_description(column: Column) -> str:
    parts = [column.description.rstrip(".")] if column.description else []
    if column.unit:
        parts.append(f"Unit: {column.unit}")
    if column.seen is not None and column.type is not ColumnType.DATETIME:
        parts.append(f"Seen in training: {column.seen[0]:g} to {column.seen[1]:g}")
    if column.type is ColumnType.CATEGORY and column.unknown == "other":
        shown = ", ".join(column.categories[:8])
        parts.append(f"Seen in training: {shown}; others are taken as one")
    if column.format is not None:
        parts.append(f"Format: {column.format}")
    if column.role is Role.TIME:
        parts.append("Event time; the time of arrival if not given")
    if column.missing:
        parts.append(f"Missing may be written as {', '.join(column.missing)}")
    return ". ".join(parts)


def example_row(contract: Contract) -> dict[str, Value]:
    """A row that fits the contract, from what was seen in training."""
    return {column.name: example_value(column) for column in contract.features}


def example_value(column: Column) -> Value:
    """A value that fits the column."""
    match column.type:
        case ColumnType.CATEGORY:
            return column.categories[0]
        case ColumnType.BOOLEAN:
            return True
        case ColumnType.DATETIME:
            return _EXAMPLE_TIME.strftime(column.format or "%Y-%m-%dT%H:%M:%SZ")
        case ColumnType.TEXT:
            return "text"
    return _example_number(column)


def _example_number(column: Column) -> float | int:
    """The middle of what was seen, else the nearest number to zero that is allowed."""
    low, high = column.limits or (None, None)
    number = 0.0 if column.seen is None else sum(column.seen) / 2
    number = number if low is None else max(number, low)
    number = number if high is None else min(number, high)
    if column.type is ColumnType.NUMBER:
        return round(number, 6)
    whole = math.ceil(number) if low is not None and math.floor(number) < low else number
    return math.floor(whole)
