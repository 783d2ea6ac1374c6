"""Adding a model to ``gyroscope.yaml`` without touching what else is in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import yaml

from gyroscope.config import FILE, load_config
from gyroscope.data.contract import Contract, contract_from_mapping
from gyroscope.data.document import model_block, new_document
from gyroscope.data.infer import Inferred
from gyroscope.data.yaml_text import indented
from gyroscope.errors import ConfigError, ContractError
from gyroscope.model import checked_model_name


def write_model(
    root: Path, name: str, data: Path, inferred: Inferred, *, overwrite: bool = False
) -> Path:
    """Put a model into ``gyroscope.yaml`` in the folder ``root`` and return the file's path.

    The file is made if there is none; else everything in it stays as it is, comments too. It is
    replaced in one step, after what is to be written was read back and found to say the same.

    Args:
        root: folder of the workspace; made if absent.
        name: of the model.
        data: training data; written relative to ``root`` if it lies inside.
        inferred: the contract and the remarks on it.
        overwrite: replace the model if there is one of that name.

    Raises:
        ConfigError: the file is wrong, has the model already, or cannot be extended.
    """
    checked_model_name(name)
    path = root / FILE
    before = ""
    if path.exists():
        models = load_config(root).models
        before = path.read_bytes().decode()
        if name in models and not overwrite:
            raise ConfigError(
                f"{path} has a model {name!r} already; choose another name with --model, or "
                "replace it, and every change made to it, with --force"
            )
    block = model_block(name, portable_path(data, root), inferred)
    after = _with_model(before or new_document(), name, block, path)
    _check(before, after, name, inferred.contract, path)
    _replace(path, after)
    return path


def portable_path(data: Path, root: Path) -> str:
    """The path of the data as the file keeps it: relative to the workspace if it lies inside."""
    whole = Path(os.path.normpath(data.absolute()))
    folder = Path(os.path.normpath(root.absolute()))
    return whole.relative_to(folder).as_posix() if whole.is_relative_to(folder) else str(whole)


def _with_model(text: str, name: str, block: str, path: Path) -> str:
    """The text with the model's block in place of its old one, or after all other models."""
    lines = text.splitlines(keepends=True)  # splits where PyYAML counts lines
    if not lines[-1].endswith(("\n", "\r")):
        lines[-1] += "\n"
    key, value = _models_node(text)
    if key is None:
        start = end = len(lines)
        new = ["models:\n", *_moved(block, 2)]
    elif isinstance(value, yaml.MappingNode) and not value.flow_style:
        old = next((pair for pair in value.value if pair[0].value == name), None)
        end = _end_of(old or value.value[-1], lines)
        start = end if old is None else old[0].start_mark.line
        new = _moved(block, value.value[0][0].start_mark.column)
    elif isinstance(value, yaml.ScalarNode) and not value.value:
        start = end = key.end_mark.line + 1
        new = _moved(block, key.start_mark.column + 2)
    else:
        raise ConfigError(
            f"{path}: 'models' is not written with one model below the other; rewrite it so that "
            f"{name!r} can be added"
        )
    gap = ["\n"] if start == end and not lines[start - 1].lstrip().startswith("models") else []
    line_break = "\r\n" if lines[0].endswith("\r\n") else "\n"
    inserted = [line.rstrip("\n") + line_break for line in (*gap, *new)]
    return "".join([*lines[:start], *inserted, *lines[end:]])


def _models_node(text: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Key and value of ``models`` in the document, with their places in the text."""
    document = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = document.value if isinstance(document, yaml.MappingNode) else []
    return next(((key, value) for key, value in pairs if key.value == "models"), (None, None))


def _end_of(entry: tuple[yaml.Node, yaml.Node], lines: list[str]) -> int:
    """The line after an entry; blank lines and comments before the next entry belong to that."""
    key, value = entry
    if isinstance(value, yaml.ScalarNode) or getattr(value, "flow_style", False):
        return int(value.end_mark.line) + 1
    end = value.end_mark.line if value.end_mark.column <= key.start_mark.column else len(lines)
    while end > key.start_mark.line + 1:
        last = lines[end - 1]
        indent = len(last) - len(last.lstrip())
        if last.strip() and not (last.lstrip().startswith("#") and indent <= key.start_mark.column):
            break
        end -= 1
    return end


def _moved(block: str, indent: int) -> list[str]:
    return indented(block.splitlines(), by=indent)


def _check(before: str, after: str, name: str, contract: Contract, path: Path) -> None:
    """See that the new text says what the old one did, and the new contract.

    Raises:
        ConfigError: it does not.
    """
    try:
        old, new = yaml.safe_load(before) or {}, yaml.safe_load(after)
        written = contract_from_mapping(new["models"].pop(name)["contract"], where=name)
    except (yaml.YAMLError, ContractError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} cannot be extended by {name!r}: {error}") from None
    kept: dict[str, Any] = dict(old.get("models") or {})
    kept.pop(name, None)
    others = {key: value for key, value in old.items() if key != "models"}
    if before and new != {**others, "models": kept}:
        raise ConfigError(f"{path} cannot be extended by {name!r} without changing other parts")
    if written != _without_why(contract):
        raise ConfigError(f"the contract of {name!r} cannot be written to {path} as it is")


def _without_why(contract: Contract) -> Contract:
    columns = tuple(msgspec.structs.replace(column, why="") for column in contract.columns)
    return msgspec.structs.replace(contract, columns=columns)


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.resolve()
    temporary = whole.with_name(f".{whole.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(whole)
