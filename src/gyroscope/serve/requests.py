"""From the body of a request to rows or labels, naming every field that is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, UnsetType

from gyroscope.bundle.explanation import Space
from gyroscope.data.codec import PlainValue
from gyroscope.data.encoder import Encoder
from gyroscope.data.plain_rows import PlainRows, Row
from gyroscope.errors import FieldProblem, RequestError
from gyroscope.serve.exact_reader import ClassOf, ExactReader, GivenLabel
from gyroscope.serve.strict_json import parse_json


class PredictRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a client asks to have scored."""

    rows: Sequence[Row]
    single: bool  # given as "row", so answered without a list
    explain: int | Literal["all"] | None = None  # contributions wanted of a row; None: the default
    space: Space = "margin"  # what the contributions add up to
    sentence: bool = False  # put each prediction into words
    of_class: str | None = None  # which of several classes to explain; None: the most probable
    plain_for: Encoder | None = None  # by whose contract the rows are plain, if they were looked at
    problems: tuple[FieldProblem, ...] = ()  # values no contract can accept; null in ``rows``


class _Options(msgspec.Struct, forbid_unknown_fields=True):
    explain: int | Literal["all"] | UnsetType | None = UNSET
    space: Space | UnsetType = UNSET
    sentence: bool | UnsetType = UNSET
    of_class: str | UnsetType = msgspec.field(default=UNSET, name="class")


# Of a prediction request, beside its rows: names in JSON, and here.
_OPTIONS = {"explain": "explain", "space": "space", "sentence": "sentence", "class": "of_class"}
_IN_QUERY = {  # how they are asked for in a query
    "explain": re.compile("[0-9]{1,9}|all"),
    "space": re.compile("|".join(get_args(Space))),
    "sentence": re.compile("true|false"),
    "class": re.compile(".+"),
}

_MOST_COLUMNS = 128  # a name that comes out of order is looked for among all of them


class RequestReader:
    """Reads most prediction requests fast: those that are beyond doubt, nothing else.

    With an encoder it takes only rows that mostly fit its contract, see
    :attr:`~gyroscope.data.encoder.Encoder.plain_form`; without one, or with very many columns, any.
    """

    def __init__(self, encoder: Encoder | None = None) -> None:
        many = encoder is not None and len(encoder.contract.columns) > _MOST_COLUMNS
        self._encoder = encoder
        self._form = None if encoder is None or many else encoder.plain_form
        row = dict[str, PlainValue] if self._form is None else self._form.type
        body = msgspec.defstruct(
            "Body",
            [("row", row | UnsetType, UNSET), ("rows", list[row] | UnsetType, UNSET)],  # type: ignore[valid-type]
            bases=(_Options,),
            forbid_unknown_fields=True,
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(body)

    def read(self, body: bytes) -> PredictRequest | None:
        """The request, if it can be read beyond doubt."""
        try:
            given = self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        if (given.row is UNSET) == (given.rows is UNSET):
            return None
        single = given.row is not UNSET
        rows: Sequence[Row] = [given.row] if single else given.rows
        if self._form is not None:
            rows = self._form.rows(rows)
        explain, space, sentence = given.explain, given.space, given.sentence
        n_options = (explain is not UNSET) + (space is not UNSET) + (sentence is not UNSET)
        n_options += given.of_class is not UNSET
        if not _names_are_unique(body, rows, 1 + n_options):
            return None
        return PredictRequest(
            rows=rows,
            single=single,
            explain=None if explain is UNSET else explain,
            space="margin" if space is UNSET else space,
            sentence=False if sentence is UNSET else sentence,
            of_class=None if given.of_class is UNSET else given.of_class,
            plain_for=None if self._form is None else self._encoder,
        )


_any_rows = RequestReader()


def predict_request(
    body: bytes, most_rows: int, reader: RequestReader = _any_rows
) -> PredictRequest:
    """Read the body of a prediction request, first by a fast reader.

    Almost every body passes one. One that does not is read once more, slowly and exactly, which
    finds out what is wrong and where.

    Raises:
        RequestError: 400 not JSON, 413 too many rows, 422 not a prediction request.
    """
    request = reader.read(body) or _any_rows.read(body) or _exact_predict(body, most_rows)
    check_count(len(request.rows), most_rows, "rows")
    return request


def _names_are_unique(body: bytes, rows: Sequence[Row], outer_names: int) -> bool:
    """Whether surely no object of the body names a field twice, or one that was passed over.

    The decoders silently keep the last of two equal names. Every name is followed by a colon, so
    there are such only if the body has more colons than the names that were kept, not counting
    those in texts.
    """
    n_names = rows.n_fields if isinstance(rows, PlainRows) else sum(map(len, rows))
    unexplained = body.count(b":") - outer_names - n_names
    if unexplained == 0:
        return True
    if b"\\" in body:  # a colon may be hidden in an escape
        return False
    if isinstance(rows, PlainRows):
        return unexplained == rows.n_colons
    return unexplained == sum(map(_colons_within, rows))


def _colons_within(row: Row) -> int:
    """Colons in the names and texts of a row."""
    texts = [*row, *(value for value in row.values() if isinstance(value, str))]
    return sum(text.count(":") for text in texts)


def _exact_predict(body: bytes, most_rows: int) -> PredictRequest:
    reader = ExactReader()
    fields = reader.fields_of(parse_json(body), {"row", "rows", *_OPTIONS}, 'with "row" or "rows"')
    reader.refuse()
    if ("row" in fields) == ("rows" in fields):
        raise RequestError(422, 'give either "row", an object, or "rows", a list of objects')
    single = "row" in fields
    given = [fields["row"]] if single else reader.items_of(fields["rows"], "rows")
    check_count(max(len(given), 1), most_rows, "rows")  # before each of them is gone through
    options = {ours: fields[name] for name, ours in _OPTIONS.items() if name in fields}
    _check_options(reader, options)
    rows = [reader.row(i, row) for i, row in enumerate(given)]
    reader.refuse()
    return PredictRequest(
        rows=rows, single=single, problems=tuple(reader.value_problems), **options
    )


def _check_options(reader: ExactReader, options: dict[str, Any]) -> None:
    """Note what is wrong with the options of a prediction request."""
    explain = options.get("explain")
    if isinstance(explain, float) and explain.is_integer():  # 3.0 is a whole number in JSON
        options["explain"] = explain = int(explain)
    if explain not in (None, "all") and (isinstance(explain, bool) or not isinstance(explain, int)):
        reader.fault("explain", explain, 'a whole number of contributions, or "all"')
    space, sentence = options.get("space", "margin"), options.get("sentence", False)
    if space not in get_args(Space):
        reader.fault("space", space, " or ".join(f'"{name}"' for name in get_args(Space)))
    if not isinstance(sentence, bool):
        reader.fault("sentence", sentence, "true or false")
    if not isinstance(options.get("of_class", ""), str):
        reader.fault("class", options["of_class"], "a class of the target, as a text")


def query_options(query: bytes) -> dict[str, Any]:
    """How to explain the rows of a batch: what the query says, by the names of PredictRequest.

    ``explain=all&space=probability&sentence=true&class=yew`` says all that can be said.

    Raises:
        RequestError: status 422, it asks for anything else, or for something twice.
    """
    options: dict[str, Any] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        known = _IN_QUERY.get(name)
        if known is None or known.fullmatch(value) is None or _OPTIONS[name] in options:
            expected = (
                "explain=K, a whole number of contributions, or all; space=margin or "
                "probability; sentence=true or false; class=NAME, one of several classes; each once"
            )
            problem = FieldProblem(field=name[:40], given="another text", expected=expected)
            raise RequestError(422, "the query is not of the right form", [problem])
        options[_OPTIONS[name]] = _said(name, value)
    return options


def _said(name: str, value: str) -> Any:
    """What an option of a query would be in JSON."""
    if name == "sentence":
        return value == "true"
    return int(value) if name == "explain" and value.isdecimal() else value


def label_request(body: bytes, most_labels: int, class_of: ClassOf) -> list[GivenLabel]:
    """Read the body of a label request: one label, or many under "labels".

    ``class_of`` raises ValueError for a label that is no value of the target.

    Raises:
        RequestError: 400 not JSON, 413 too many labels, 422 not a label request.
    """
    reader = ExactReader()
    given = parse_json(body)
    items = [given]
    if isinstance(given, dict) and "labels" in given:
        items = reader.items_of(
            reader.fields_of(given, {"labels"}, "of labels")["labels"], "labels"
        )
    labels = [reader.label(i, item, class_of) for i, item in enumerate(items)]
    reader.refuse()
    check_count(len(labels), most_labels, "labels")
    return labels


def check_count(n: int, most: int, what: str) -> None:
    """Raise RequestError unless there are 1 to ``most`` rows or labels."""
    if n == 0:
        raise RequestError(422, f"{what} is empty: give at least one")
    if n > most:
        raise RequestError(
            413,
            f"{n:,} {what} in one request, at most {most:,} are accepted: send several requests",
        )
