"""The contract of a model: its columns, and what may stand in them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, get_args

import msgspec

from gyroscope.errors import ContractError


class ColumnType(StrEnum):
    """What the values of a column are."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATETIME = "datetime"  # ISO 8601 or a listed format; without zone it is taken as UTC
    TEXT = "text"  # free text and identifiers; never a feature


class Role(StrEnum):
    """What a column is for."""

    FEATURE = "feature"
    TARGET = "target"  # what is predicted; known only later
    ID = "id"  # whom a row is about
    TIME = "time"  # event time of a row
    SENSITIVE = "sensitive"  # for fairness checks; not an input of the model
    WEIGHT = "weight"  # weight of a row in training
    IGNORED = "ignored"  # may be sent, is not read


_VALUES = ("positive", "negative", "classes")  # of the target
_NUMERIC = (ColumnType.NUMBER, ColumnType.INTEGER)

# What is predicted of a row: the probability of one of two classes, that of each of several, or a
# number.
Task = Literal["binary", "multiclass", "regression"]


class Column(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One column. Ranges and categories are those of the data the contract was made from."""

    name: str
    type: ColumnType
    role: Role = Role.FEATURE
    description: str = ""
    unit: str = ""
    nullable: bool = False  # may be missing (JSON null or one of ``missing``)
    missing: tuple[str, ...] = ()  # texts that mean missing, compared after trimming, e.g. "?"
    seen: tuple[float, float] | None = None  # lowest and highest number seen; a hint, not a limit
    limits: tuple[float | None, float | None] | None = None  # enforced; None leaves a side open
    categories: tuple[str, ...] = ()  # values of a category, most frequent first
    unknown: Literal["reject", "other"] = "reject"  # a category not listed
    true: tuple[str, ...] = ()  # texts that mean true, e.g. "yes"; compared without case
    false: tuple[str, ...] = ()
    format: str | None = None  # strptime format of a datetime that is not ISO 8601
    why: str = ""  # why the column was given this type and role, in words


class Contract(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The columns of a model and what it predicts.

    ``positive`` and ``negative``, or ``classes``, are the texts of the target's values as they
    stand in the data; a target value that is not listed is an error.
    """

    columns: tuple[Column, ...]
    positive: tuple[str, ...] = ()  # binary only
    negative: tuple[str, ...] = ()  # binary only
    task: Task = "binary"
    classes: tuple[str, ...] = ()  # multiclass only, at least 3; their order is that of all scores

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ContractError(f"columns named twice in the contract: {', '.join(twice)}")
        for role in (Role.TARGET, Role.ID, Role.TIME, Role.WEIGHT):
            holders = [c.name for c in self.columns if c.role is role]
            if len(holders) > 1:
                raise ContractError(f"only one column may be {role}: {', '.join(holders)} are")
        if not any(c.role is Role.TARGET for c in self.columns):
            raise ContractError("no column of the contract has role target")
        if not self.features:
            raise ContractError("no column of the contract has role feature")
        for column in self.features:
            if column.type is ColumnType.TEXT:
                raise ContractError(
                    f"column {column.name}: free text cannot be a feature; "
                    "make it a category or give it role ignored"
                )
            if column.type is ColumnType.CATEGORY and not column.categories:
                raise ContractError(f"column {column.name}: a category needs its categories")
        for column in self.columns:
            if column.limits is not None and column.type not in _NUMERIC:
                raise ContractError(
                    f"column {column.name}: limits are for numbers, not {column.type}"
                )
        self._check_target()

    def _check_target(self) -> None:
        if self.task != "binary" and (self.positive or self.negative):
            raise ContractError(f"a {self.task} target has no positive and negative values")
        if self.task != "multiclass" and self.classes:
            raise ContractError(f"a {self.task} target has no classes; is it multiclass?")
        match self.task:
            case "binary":
                both = sorted(set(self.positive) & set(self.negative))
                if both or not self.positive or not self.negative:
                    raise ContractError(
                        "the target needs values for positive and for negative, none in both: "
                        f"positive {list(self.positive)}, negative {list(self.negative)}"
                    )
            case "multiclass":
                if len(set(self.classes)) < max(3, len(self.classes)):
                    raise ContractError(
                        "a multiclass target needs at least 3 classes, each listed once: "
                        f"classes {list(self.classes)}"
                    )
            case "regression":
                if self.target.type not in _NUMERIC:
                    raise ContractError(
                        f"column {self.target.name}: a regression target is a number or integer, "
                        f"not {self.target.type}"
                    )

    def predicts_as(self, other: Contract) -> bool:
        """Whether scores by both contracts are of the same thing, so that they can be compared."""
        turned = {*self.positive} & {*other.negative} or {*self.negative} & {*other.positive}
        return self.task == other.task and self.classes == other.classes and not turned

    @property
    def labels(self) -> tuple[str, ...]:
        """The values of the target that are listed; none if it is a number."""
        return (*self.positive, *self.negative, *self.classes)

    @property
    def features(self) -> tuple[Column, ...]:
        """The inputs of the model, in the order of the encoded vector."""
        return tuple(c for c in self.columns if c.role is Role.FEATURE)

    @property
    def target(self) -> Column:
        """What is predicted."""
        return next(c for c in self.columns if c.role is Role.TARGET)

    @property
    def time(self) -> Column | None:
        """The column with the event time, if there is one."""
        return self._one(Role.TIME)

    @property
    def id(self) -> Column | None:
        """The column that says whom a row is about, if there is one."""
        return self._one(Role.ID)

    @property
    def weight(self) -> Column | None:
        """The column with the weight of a row, if there is one."""
        return self._one(Role.WEIGHT)

    @property
    def sensitive(self) -> tuple[Column, ...]:
        """The columns for fairness checks."""
        return tuple(c for c in self.columns if c.role is Role.SENSITIVE)

    def _one(self, role: Role) -> Column | None:
        return next((c for c in self.columns if c.role is role), None)


def stricter_columns(contract: Contract, than: Contract) -> list[str]:
    """The columns for which a contract may refuse, or read otherwise, what another accepts.

    Names and roles, types, spellings of a missing value and limits must be equal; there may be
    more categories. The classes of the target must be equal too.
    """
    ours = {column.name: column for column in contract.columns}
    theirs = {column.name: column for column in than.columns}
    names = [*theirs, *(name for name in ours if name not in theirs)]
    target = than.target.name
    classes = [(c.task, c.positive, c.negative, c.classes) for c in (contract, than)]
    return [
        name
        for name in names
        if _is_stricter(ours.get(name), theirs.get(name))
        or (name == target and classes[0] != classes[1])
    ]


def _is_stricter(column: Column | None, than: Column | None) -> bool:
    if column is None or than is None:
        return True
    hints: dict[str, Any] = {"description": "", "unit": "", "seen": None, "why": ""}
    hints |= {"categories": (), "unknown": "reject"}  # compared below
    plain, than_plain = (msgspec.structs.replace(c, **hints) for c in (column, than))
    takes_any = column.unknown == "other"
    takes_all = than.unknown == "reject" and set(than.categories) <= set(column.categories)
    return plain != than_plain or not (takes_any or takes_all)


def contract_from_mapping(given: Mapping[str, Any], *, where: str) -> Contract:
    """Read a contract from the mapping under ``contract`` in ``gyroscope.yaml``.

    ``given`` has ``task`` ("binary" if absent), ``positive`` and ``negative`` (a text or a list of
    texts) or ``classes``, and ``columns``, a mapping of name to the fields of :class:`Column`
    without the name.

    Raises:
        ContractError: says ``where`` and which field of which column is wrong.
    """
    columns = given.get("columns")
    if not isinstance(columns, Mapping) or not columns:
        raise ContractError(f"{where}: 'columns' must be a mapping of column names to fields")
    extra = sorted(set(map(str, given)) - {"columns", "task", *_VALUES})
    if extra:
        raise ContractError(
            f"{where}: unknown field {extra[0]!r}; known: columns, task, {', '.join(_VALUES)}"
        )
    task = given.get("task", "binary")
    if task not in get_args(Task):
        raise ContractError(f"{where}: task is {task!r}, expected {', '.join(get_args(Task))}")
    known = {field.name for field in msgspec.structs.fields(Column)}
    read = []
    for name, fields in columns.items():
        if not isinstance(fields, Mapping):
            raise ContractError(f"{where}, column {name}: expected fields such as 'type: number'")
        unknown = sorted(set(map(str, fields)) - known)
        if unknown:
            raise ContractError(
                f"{where}, column {name}: unknown field {unknown[0]!r}; "
                f"known: {', '.join(sorted(known))}"
            )
        try:
            read.append(msgspec.convert({**fields, "name": str(name)}, Column))
        except msgspec.ValidationError as error:
            raise ContractError(f"{where}, column {name}: {error}") from None
    wanted = {"binary": ("positive", "negative"), "multiclass": ("classes",)}.get(task, ())
    values = {
        name: _texts(given.get(name), f"{where}: {name}")
        for name in _VALUES
        if name in given or name in wanted
    }
    return Contract(columns=tuple(read), task=task, **values)


def _texts(given: object, where: str) -> tuple[str, ...]:
    values = given if isinstance(given, list) else [given]
    if any(not isinstance(v, str | int | float | bool) for v in values):
        raise ContractError(f"{where} must be a value of the target or a list of values")
    return tuple(v if isinstance(v, str) else msgspec.json.encode(v).decode() for v in values)
