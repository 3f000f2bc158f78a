"""The compiled build: mypyc makes C of the modules that a session runs through, as they are.

It is asked for by HATCH_BUILD_HOOK_ENABLE_CUSTOM=1, and needs a C compiler and Python's headers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CompiledBuild(BuildHookInterface[Any]):
    """Puts the compiled ``modules`` of pyproject.toml into a wheel, beside their sources."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # what is edited is what runs
        self._folder = tempfile.TemporaryDirectory()
        for library in _compiled(Path(self.root), self.config["modules"], Path(self._folder.name)):
            build_data["force_include"][str(library)] = str(library.relative_to(self._folder.name))
        build_data["infer_tag"] = True
        build_data["pure_python"] = False

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._folder.cleanup()


def _compiled(root: Path, patterns: list[str], folder: Path) -> list[Path]:
    from mypyc.build import mypycify
    from setuptools import Distribution

    modules = [str(module) for pattern in patterns for module in sorted(root.glob(pattern))]
    options = ["--config-file", str(root / "pyproject.toml"), "--cache-dir", str(folder / "cache")]
    extensions = mypycify([*options, *modules], group_name="geomail", target_dir=str(folder / "c"))
    build = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(folder), str(folder / "temp")
    build.ensure_finalized()
    build.run()
    return [Path(output) for output in build.get_outputs()]
