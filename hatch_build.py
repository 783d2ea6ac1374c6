"""Builds the C kernels into the package, if there is a compiler; else NumPy does the work."""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNELS = Path("src", "gyroscope", "kernels")


class KernelBuildHook(BuildHookInterface):
    """Compiles all C files of the kernels into one library, for wheels and editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the library; ``build_data`` then says for which platform the wheel is."""
        if self.target_name != "wheel":
            return
        kernels = Path(self.root) / KERNELS
        for earlier in kernels.glob("*.lib"):
            earlier.unlink()
        about = runpy.run_path(str(kernels / "library.py"))
        library: Path = about["library_path"]()
        if self._build(about["FLAGS"], about["sources"](), library):
            build_data["artifacts"].append(str(KERNELS / library.name))
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{self._platform()}"

    def _build(self, flags: Sequence[str], sources: list[Path], library: Path) -> bool:
        compiler = shlex.split(os.environ.get("CC", "cc"))
        command = [*compiler, *flags, *map(str, sources), "-o", str(library), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or error
            self.app.display_warning(f"No C kernels, NumPy will do: {said}")
            library.unlink(missing_ok=True)
            return False
        return True

    def _platform(self) -> str:
        """The platform part of the tag that is right for this interpreter."""
        tag: str = self.build_config.builder.get_best_matching_tag()
        return tag.rsplit("-", maxsplit=1)[-1]
