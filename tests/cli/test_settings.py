"""The reference page of the settings is made from their table and kept in docs."""

from __future__ import annotations

from pathlib import Path

from gyroscope.cli.settings import settings_page
from gyroscope.config import MODEL_SETTINGS, WORKSPACE_SETTINGS

ROOT = Path(__file__).parents[2]


def test_the_page_in_docs_is_what_the_command_prints() -> None:
    kept = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert kept == settings_page(), "run: gyro settings > docs/settings.md"


def test_every_setting_is_on_the_page_with_its_help() -> None:
    page = settings_page()
    for setting in (*WORKSPACE_SETTINGS, *MODEL_SETTINGS):
        assert f"| `{setting.name}` |" in page
        assert setting.help in page
