"""A guessed contract as a part of ``gyroscope.yaml`` that people can read, judge and edit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from gyroscope.config import MODEL_SETTINGS, WORKSPACE_SETTINGS, Setting
from gyroscope.data.contract import Column, Contract, Role
from gyroscope.data.infer import Inferred
from gyroscope.data.remarks import Remark
from gyroscope.data.yaml_text import WIDTH, comment, field, flow, indented, printable, scalar

OFFERED_SETTINGS = (  # of a model, shown with their defaults, commented out
    *("metric", "cost_false_positive", "cost_false_negative", "window", "label_lag"),
    *("false_alarms_per_year", "cooldown", "retrainings_per_year"),
)
OFFERED_WORKSPACE_SETTINGS = ("state", "host", "port")

_COLUMNS_HELP = (
    "seen: lowest and highest number in these data, a hint and no limit. categories: most frequent "
    "first; a value that is not listed is refused, or taken as one more with `unknown: other`. "
    "nullable: may be missing. role: feature, target, id, time, sensitive, weight or ignored."
)
_HEAD = """\
# The models of this workspace, first written by gyro init and from then on yours to edit.
# Look at every WARNING below, correct what was guessed wrong, then run: gyro train
"""


def new_document() -> str:
    """A ``gyroscope.yaml`` without models, to which :func:`model_block` can be appended."""
    lines = indented(_settings(WORKSPACE_SETTINGS, OFFERED_WORKSPACE_SETTINGS))
    return "\n".join([*_HEAD.splitlines(), "", "workspace:", *lines, "", "models:"]) + "\n"


def model_block(name: str, data: str, inferred: Inferred) -> str:
    """The YAML of one model, to be moved under ``models``; ends with a line break.

    What is in doubt has its remark as a comment above the column concerned. Read back, it gives
    the contract of ``inferred``, but for ``why``, which becomes comments.
    """
    remarks = inferred.remarks
    body = [
        *field("data", data),
        *_comments(remark for remark in remarks if not remark.column),
        "contract:",
        *indented(_contract(inferred.contract, remarks)),
        "settings:",
        *indented(_settings(MODEL_SETTINGS, OFFERED_SETTINGS)),
    ]
    return "\n".join([f"{scalar(name)}:", *indented(body)]) + "\n"


def _contract(contract: Contract, remarks: Sequence[Remark]) -> Iterator[str]:
    yield from _comments(remark for remark in remarks if remark.kind in ("positive", "task"))
    if contract.task != "binary":
        yield from field("task", contract.task)
    for side in ("positive", "negative", "classes"):
        values = getattr(contract, side)
        if values:
            yield from field(side, values[0] if len(values) == 1 else values)
    yield "columns:"
    yield from indented(comment(_COLUMNS_HELP))
    for column in contract.columns:
        about = [remark for remark in remarks if remark.column == column.name]
        yield from indented(_column(column, about))


def _column(column: Column, remarks: Sequence[Remark]) -> Iterator[str]:
    yield from _comments(remark for remark in remarks if _worth_a_comment(remark, column))
    given = msgspec.to_builtins(column)
    fields = {"type": column.type.value, "role": column.role.value}  # the role also if default
    fields |= {key: one for key, one in given.items() if key not in ("name", "why")}
    why = f"  # {printable(column.why)}" if column.why else ""
    line = f"{scalar(column.name)}: {flow(fields)}"
    if len(line) <= WIDTH and len(line + why) <= WIDTH + 10:
        yield line + why
        return
    yield f"{scalar(column.name)}:{why}"
    for key, value in fields.items():
        yield from indented(field(key, value))


def _worth_a_comment(remark: Remark, column: Column) -> bool:
    """Whether a remark says more than the column's fields and its ``why`` do."""
    if remark.level == "warning":
        return True
    told = column.role is Role.IGNORED or remark.kind in ("missing-text", "positive", "task")
    return not told


def _comments(remarks: Iterable[Remark]) -> Iterator[str]:
    for remark in remarks:
        mark = "WARNING: " if remark.level == "warning" else ""
        yield from comment(f"{mark}{remark.message} {remark.advice}")


def _settings(table: Sequence[Setting], offered: Sequence[str]) -> Iterator[str]:
    """Settings with help, unit and default, commented out."""
    known = {setting.name: setting for setting in table}
    for name in offered:
        setting = known[name]
        choices = f" One of {', '.join(setting.choices)}." if setting.choices else ""
        yield from comment(f"{setting.help}{choices}")
        unit = f"  # {setting.unit}" if setting.unit else ""
        yield f"# {name}: {flow(setting.default)}{unit}"
