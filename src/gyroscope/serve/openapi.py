"""The OpenAPI document: each model's routes with the schema of its rows, from its contract."""

from __future__ import annotations

import inspect
import math
import re
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gyroscope.bundle.explanation import Space
from gyroscope.data.codec import EXACT_INTEGERS, plain_number
from gyroscope.data.contract import Column, ColumnType, Contract, Role
from gyroscope.data.encoder import LARGEST_AMOUNT
from gyroscope.model import Value
from gyroscope.serve import answers
from gyroscope.serve.champions import Champion, ModelTable
from gyroscope.serve.exact_reader import LONGEST_ID
from gyroscope.serve.http import ARROW, PARQUET, ErrorBody, Limits

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
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Any text, new for each request and the same when it is sent again: within a "
    "day a request with a known key gets the same answer and leaves no second record.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
_PLAIN = ["string", "number", "boolean", "null"]  # all that a field of a row can be
_EXACT = {"minimum": -EXACT_INTEGERS, "maximum": EXACT_INTEGERS}  # of integers in JSON
_SPECIAL = re.compile(r"[\\^$.|?*+(){}\[\]/]")  # in a pattern
_MANY: Json = {"$ref": "#/components/schemas/ManyPredictions"}
_EITHER: Json = {"oneOf": [{"$ref": "#/components/schemas/OnePrediction"}, _MANY]}
_NO_SENTENCE_OF_NOTHING: Json = {
    "not": {
        "properties": {"explain": {"const": 0}, "sentence": {"const": True}},
        "required": ["explain", "sentence"],
    }
}
_EXAMPLE_TIME = datetime(2026, 1, 31, 12, tzinfo=UTC)

_ON_RECORD = "The predictions, all on record, each by the version that serves the row."


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
        document["paths"] = {**_health(), **document["paths"]}
        for champion in champions:
            name, contract = champion.deployed.model, champion.bundle.contract
            schemas[f"{name}.Row"] = row_schema(contract)
            path = f"/v1/models/{name}"
            document["paths"][f"{path}/predict"] = {"post": _predict(champion, self._limits)}
            document["paths"][f"{path}/predict-batch"] = {"post": _batch(champion, self._limits)}
            if champion.bundle.explains:
                document["paths"][f"{path}/explain"] = {"post": _explain(champion, self._limits)}
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


def _health() -> Json:
    """The routes that answer without a key."""
    not_ready = {"description": "Says what is missing.", **json_content(ref("Readiness"))}
    healthz = {
        "tags": ["health"],
        "operationId": "healthz",
        "summary": "Is the process up?",
        "responses": responses("It is.", ref("Health")),
    }
    readyz = {
        "tags": ["health"],
        "operationId": "readyz",
        "summary": "Can every model predict, and its log be written?",
        "responses": {**responses("They can.", ref("Readiness")), "503": not_ready},
    }
    return {"/healthz": {"get": healthz}, "/readyz": {"get": readyz}}


def _operation(what: str, champion: Champion, summary: str, **more: Any) -> Json:
    """What is said of a route of one model; ``summary`` may name it and its version."""
    name = champion.deployed.model
    return {
        "tags": [name],
        "operationId": f"{what}_{name}",
        "summary": summary.format(model=f"{name}, version {champion.version}"),
        **more,
    }


def _predict(champion: Champion, limits: Limits) -> Json:
    one, many, examples = _rows_asked(champion, limits, "3 for one row and 0 for many")
    return _operation(
        "predict",
        champion,
        "Predict with {model}",
        parameters=[_KEY],
        requestBody=_body({"oneOf": [one, many]}, examples),
        responses=responses(_ON_RECORD, _EITHER),
    )


def _batch(champion: Champion, limits: Limits) -> Json:
    _, many, examples = _rows_asked(champion, limits, "0")
    body = _body(many, {"many": examples["many"]})
    table = {"schema": {"type": "string", "format": "binary"}}
    body["content"] |= {ARROW: table, PARQUET: table}
    answered = responses(_ON_RECORD, _MANY)
    answered["200"]["content"] |= {ARROW: table}
    options = _explain_options(champion, "0")
    number = {"type": "integer", "minimum": 0, "maximum": _most_explained(champion)}
    every = [{"const": "all"}] if champion.bundle.explains else []
    schemas = {
        "explain": {"oneOf": [number, *every]},
        "space": {"enum": options["space"]["enum"]},
        "sentence": {"type": "boolean"} if champion.bundle.explains else {"enum": [False]},
    }
    if "class" in options:
        schemas["class"] = {"enum": options["class"]["enum"]}
    asked = [
        {
            "name": name,
            "in": "query",
            "description": "As in a body of JSON, over which it goes; tables have no other place.",
            "schema": schema,
        }
        for name, schema in schemas.items()
    ]
    return _operation(
        "predict_batch",
        champion,
        "Predict many rows with {model}",
        description="Rows in JSON, or the columns of a table in Arrow's stream format or in "
        "Parquet; answered in JSON or as an Arrow stream, as the Accept header says.",
        parameters=[_KEY, *asked],
        requestBody=body,
        responses=answered,
    )


def _explain(champion: Champion, limits: Limits) -> Json:
    one, many, examples = _rows_asked(champion, limits, "all")
    version = {
        "name": "version",
        "in": "query",
        "description": "Explain all rows by this version: champion, previous, canary or "
        "challenger. If not given, by the one that serves the row.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
    }
    return _operation(
        "explain",
        champion,
        "Explain what {model}, would predict",
        description="Nothing goes on record: the answer has no prediction_id.",
        parameters=[version],
        requestBody=_body({"oneOf": [one, many]}, examples),
        responses=responses("The explanations, each by the version that serves the row.", _EITHER),
    )


def _rows_asked(champion: Champion, limits: Limits, default: str) -> tuple[Json, Json, Json]:
    """The schemas of a body with one row and with many, and examples of both."""
    name, contract = champion.deployed.model, champion.bundle.contract
    row = ref(f"{name}.Row")
    options = _explain_options(champion, default)
    one = _object({"row": row, **options}, ["row"])
    rows = _list_of(row, limits.rows)
    many = _object({"rows": rows, **options}, ["rows"])
    if champion.bundle.explains:
        one, many = one | _NO_SENTENCE_OF_NOTHING, many | _NO_SENTENCE_OF_NOTHING
    example = example_row(contract)
    some = {"rows": [example, example], "explain": min(2, _most_explained(champion))}
    examples = {
        "one": {"summary": "One row", "value": {"row": example}},
        "many": {"summary": "Many rows", "value": some},
    }
    return one, many, examples


def _most_explained(champion: Champion) -> int:
    """How many contributions can be asked for."""
    return len(champion.features) if champion.bundle.explains else 0


def _explain_options(champion: Champion, default: str) -> Json:
    """What may stand beside the rows: how to explain them."""
    contract, spaces = champion.bundle.contract, list(get_args(Space))
    if contract.task == "regression":
        spaces = ["margin"]
    if not champion.bundle.explains:
        why = "An estimator of the user's own is not explained."
        return {
            "explain": {"enum": [0, None], "description": why},
            "space": {"enum": spaces, "description": why},
            "sentence": {"const": False, "description": why},
        }
    number = {"type": "integer", "minimum": 0, "maximum": len(champion.features)}
    of_class: Json = {}
    if contract.classes:
        of_class["class"] = {
            "enum": list(contract.classes),
            "description": "Which class to explain; the most probable one of each row if not "
            "given.",
        }
    return {
        **of_class,
        "explain": {
            "oneOf": [number, {"enum": ["all", None]}],
            "description": f"How many features to list with their contribution; {default} if not "
            "given.",
        },
        "space": {
            "enum": spaces,
            "default": "margin",
            "description": f"What the contributions add up to: the margin, in "
            f"{champion.bundle.unit}{', or the probability' if len(spaces) > 1 else ''}.",
        },
        "sentence": {
            "type": "boolean",
            "default": False,
            "description": "Whether to put each prediction into words; explain must not be 0 then.",
        },
    }


def _amount(contract: Contract) -> Json:
    """A label that is a number."""
    target = contract.target
    low, high = target.limits or (None, None)
    return {
        "type": "integer" if target.type is ColumnType.INTEGER else "number",
        "minimum": -LARGEST_AMOUNT if low is None else low,
        "maximum": LARGEST_AMOUNT if high is None else high,
    }


def _labels(champion: Champion, limits: Limits) -> Json:
    contract = champion.bundle.contract
    one = _object(
        {
            "prediction_id": {"type": "string", "minLength": 1, "maxLength": LONGEST_ID},
            "label": {"enum": list(contract.labels)} if contract.labels else _amount(contract),
            "time": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": "When the outcome became true; now if not given.",
            },
        },
        ["prediction_id", "label"],
    )
    labels = _list_of(one, limits.rows)
    label = {
        "prediction_id": "019c12f4-5a80-7000-8000-000000000000",
        "label": contract.labels[0] if contract.labels else example_value(contract.target),
        "time": _EXAMPLE_TIME.isoformat(),
    }
    examples = {
        "one": {"summary": "One label", "value": label},
        "many": {"summary": "Many labels", "value": {"labels": [label]}},
    }
    return _operation(
        "label",
        champion,
        f"Say what became of predictions of {champion.deployed.model}",
        description="Labels may come late, in part and more than once: the last one counts.",
        requestBody=_body({"oneOf": [one, _object({"labels": labels}, ["labels"])]}, examples),
        responses=responses("What was put on record.", ref("LabelsAccepted")),
    )


def _list_of(item: Json, most: int) -> Json:
    # Not "maxItems": one that is too long is too large (413), and not of another form (422).
    said = f"at most {most}, or the answer is 413"
    return {"type": "array", "items": item, "minItems": 1, "description": said}


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
        return {"type": _PLAIN, "description": "May be sent; is not read."}
    schema = _value_schema(column)
    if column.nullable or column.role is not Role.FEATURE:
        schema = _or_null(schema)
    blank = {"type": "string", "pattern": _missing_pattern(column)}
    if column.nullable:
        schema = {"anyOf": [schema, blank]}
    elif column.type is ColumnType.CATEGORY and "enum" not in schema:
        schema["not"] = blank
    description = _column_description(column)
    return {**schema, "description": description} if description else schema


def _value_schema(column: Column) -> Json:
    """Of a value that is not missing."""
    if column.role is Role.ID:
        return {"type": _PLAIN}
    schema: Json
    match column.type:
        case ColumnType.CATEGORY if column.unknown == "reject":
            schema = {"enum": [v for text in column.categories for v in _spellings(text)]}
        case ColumnType.CATEGORY:
            schema = {"type": ["string", "integer", "boolean"], **_EXACT}
        case ColumnType.BOOLEAN:
            words = ("true", "false", *column.true, *column.false)
            schema = {"enum": [True, False, *(v for text in words for v in _spellings(text))]}
        case ColumnType.DATETIME:
            schema = {"type": ["string"], **({} if column.format else {"format": "date-time"})}
        case ColumnType.TEXT:
            schema = {"type": ["string", "integer"], **_EXACT}
        case _:
            schema = _number_schema(column)
    return schema


def _number_schema(column: Column) -> Json:
    whole = column.type is ColumnType.INTEGER
    low, high = column.limits or (None, None)
    schema: Json = {"type": ["integer" if whole else "number"]}
    if whole:  # a float64 cannot tell the bounds of _EXACT from their neighbours
        schema |= {"minimum": 1 - EXACT_INTEGERS, "maximum": EXACT_INTEGERS - 1}
    schema |= {} if low is None else {"minimum": low}
    return schema | ({} if high is None else {"maximum": high})


def _or_null(schema: Json) -> Json:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "type": [*dict.fromkeys([*schema["type"], "null"])]}


def _spellings(text: str) -> list[Value]:
    """A text, and the number that is taken for it, if it is spelt like one."""
    number = plain_number(text)
    if number is None:
        return [text]
    return [text, int(number) if number.is_integer() else number]


def _missing_pattern(column: Column) -> str:
    """Of the texts that mean that there is no value."""
    texts = (_SPECIAL.sub(r"\\\g<0>", text.strip()) for text in column.missing)
    return rf"^\s*({'|'.join(['', *texts])})\s*$"


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
