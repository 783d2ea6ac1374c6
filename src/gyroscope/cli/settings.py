"""``gyro settings``: the reference page of all settings, from their table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from gyroscope.config import Setting

_HEAD = """# Settings

Every setting has a default that needs no thought. To change one, write it into `gyroscope.yaml`,
under `workspace` or under `models: NAME: settings`, or set the environment variable
`GYROSCOPE_` and its name in capitals, which goes before the file. Durations read `90s`, `15m`,
`6h`, `7d` or `2w`. This page is the output of `gyro settings`.
"""


def settings() -> None:
    """Print what can be set in gyroscope.yaml, with defaults, units and limits."""
    typer.echo(settings_page(), nl=False)


def settings_page() -> str:
    """The reference page in Markdown."""
    from gyroscope.config import MODEL_SETTINGS, WORKSPACE_SETTINGS

    workspace = _table("Of the workspace", WORKSPACE_SETTINGS)
    return f"{_HEAD}\n{workspace}\n{_table('Of each model', MODEL_SETTINGS)}"


def _table(title: str, table: Sequence[Setting]) -> str:
    import msgspec

    lines = [
        f"## {title}",
        "",
        "| setting | default | allowed | what it does |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{s.name}` | `{msgspec.json.encode(s.default).decode()}` | {_allowed(s)} | {s.help} |"
        for s in table
    ]
    return "\n".join(lines) + "\n"


def _allowed(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(f"`{choice}`" for choice in setting.choices)
    low, high = setting.low, setting.high
    if setting.unit == "duration":
        return "a duration" if not low else f"a duration of at least {low:g} s"
    bounds = [f"from {low:g}"] if low is not None else []
    bounds += [f"to {high:g}"] if high is not None else []
    return " ".join([*bounds, setting.unit]).strip()
