"""Whom the operator trusts, where no server but a command or a script loads a bundle."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gyroscope.bundle.keys import Keys, keys_folder
from gyroscope.config import FILE, WORKSPACE_SETTINGS, Settings, load_config


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """Whose bundles are loaded, and what estimators in them may be made of."""

    keys: dict[str, str]  # names of public keys, by key
    types: tuple[str, ...]  # as in the setting trusted_types


def trust_in(root: Path) -> Trust:
    """What the workspace in the folder ``root`` trusts.

    Where there is none, no key is trusted, and the types of the environment's
    GYROSCOPE_TRUSTED_TYPES.

    Raises:
        ConfigError: ``gyroscope.yaml``, a key or the variable cannot be read.
    """
    if not (root / FILE).is_file():
        settings = Settings(WORKSPACE_SETTINGS, {}, FILE)
        return Trust(keys={}, types=tuple(settings["trusted_types"]))
    config = load_config(root)
    keys = Keys(keys_folder(config.state)).trusted()
    return Trust(keys=keys, types=tuple(config.settings["trusted_types"]))
