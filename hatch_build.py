"""The build of a wheel: compiled if this machine can compile, and with the addresses of the release.

If there is a C compiler with Python's headers, ``pip install .`` has mypyc translate to C, unchanged, the
modules that a session uses. Otherwise the same sources make a pure Python build. GEOMAIL_PURE overrides
that: 1 asks for the pure build, 0 for the compiled one or none. An editable install is pure, so that edited
code runs at once.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

_CHOICE = "GEOMAIL_PURE"
_REPOSITORY = "GEOMAIL_REPOSITORY"
#: Options that make mypyc tolerate remarks of the type checker: they come when a package that geomail needs
#: changes its types, and must not keep an operator from installing geomail. `make lint` shows them.
_LENIENT = (
    "--no-warn-redundant-casts",
    "--no-warn-return-any",
    "--no-warn-unreachable",
    "--no-warn-unused-ignores",
)


class CompiledBuild(BuildHookInterface[Any]):
    """The hook that puts the compiled ``modules`` of pyproject.toml into a wheel, beside their sources.

    It compiles all of them or none: the decision comes first, and nothing goes into the wheel before all
    libraries are there. If compiling fails, the build fails: a compiler that is there must be used. pip shows
    nothing of a successful build, so operators would notice a pure one only by its load.
    """

    _folder: tempfile.TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        """Name the packages that the build needs: none for a pure one."""
        if _read_choice() == "1" or find_obstacle() is not None:
            return []
        return [*self.config["tools"], *self.metadata.core.dependencies]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless the build must be pure; end the build if compiling fails."""
        if version == "editable" or not self._must_compile():
            return
        self._folder = tempfile.TemporaryDirectory()
        build_data["force_include"].update(self._compile(Path(self._folder.name)))
        build_data["infer_tag"] = True
        build_data["pure_python"] = False

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the compiled libraries: they are in the wheel."""
        if self._folder is not None:
            self._folder.cleanup()

    def _must_compile(self) -> bool:
        if _read_choice() == "1":
            return False
        reason = find_obstacle()
        if reason is not None and _read_choice() == "0":
            self.app.abort(f"geomail is not compiled, which {_CHOICE}=0 asks for: {reason}")
        if reason is not None:
            self.app.display_warning(f"geomail is built as pure Python: {reason}")
        return reason is None

    def _compile(self, folder: Path) -> dict[str, str]:
        """Compile the modules; return the libraries, each with its place in the wheel."""
        root = Path(self.root)
        modules = [str(path) for pattern in self.config["modules"] for path in sorted(root.glob(pattern))]
        # A process of its own: mypyc exits when it fails, and a compiler may run out of memory.
        done = subprocess.run([sys.executable, __file__, str(root), str(folder), *modules], check=False)
        if done.returncode:
            self.app.abort(
                "geomail could not be compiled, for the reason above. "
                f"{_CHOICE}=1 builds it as pure Python: it does the same, and takes more CPU."
            )
        place = folder / "libraries"
        return {str(path): str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


class ReleaseMetadata(MetadataHookInterface):
    """The hook that adds the project's addresses, if GEOMAIL_REPOSITORY names the releasing repository."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Fill in the addresses."""
        repository = os.environ.get(_REPOSITORY, "").rstrip("/")
        if repository:
            metadata["urls"] = {
                "Source": repository,
                "Changelog": f"{repository}/blob/main/CHANGELOG.md",
                "Issues": f"{repository}/issues",
                "Security": f"{repository}/security/policy",
            }


def find_obstacle() -> str | None:
    """Try to compile one line of C; return why this machine cannot compile, None if it can."""
    if sys.implementation.name != "cpython":
        return f"mypyc compiles for CPython alone, and this is {sys.implementation.name}"
    # The compiler that setuptools finds: it compiles the modules.
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    flags = [*shlex.split(os.environ.get("CPPFLAGS", "")), *shlex.split(os.environ.get("CFLAGS", ""))]
    headers = [sysconfig.get_path(name) for name in ("include", "platinclude")]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <Python.h>\n")
        command = [*shlex.split(compiler), *flags, *(f"-I{place}" for place in headers)]
        command += ["-c", str(source), "-o", f"{folder}/probe.o"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            return f"there is no C compiler ({compiler}: {error.strerror}); Debian has it in gcc"
    if done.returncode == 0:
        return None
    if not any(Path(place, "Python.h").exists() for place in headers):
        return f"Python's headers are not in {headers[0]}; Debian has them in python3-dev"
    return f"the C compiler does not work ({compiler}: {done.stderr.strip()})"


def _read_choice() -> str:
    """Return the operator's choice: 1 for pure Python, 0 for compiled, empty if this machine decides."""
    choice = os.environ.get(_CHOICE, "")
    if choice not in ("", "0", "1"):
        sys.exit(f"{_CHOICE}={choice} is not understood: it must be 1 (pure Python) or 0 (compiled)")
    return choice


def _compile(root: Path, folder: Path, modules: list[str]) -> None:
    """Compile the modules; put the libraries into ``folder``/libraries."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    options = ["--config-file", str(root / "pyproject.toml"), "--cache-dir", str(folder / "cache"), *_LENIENT]
    extensions = mypycify([*options, *modules], group_name="geomail", target_dir=str(folder / "c"))
    for extension in extensions:
        extension.extra_compile_args.append("-Wno-error")  # against mypyc's -Werror: warnings do no harm

    build = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    build.build_lib, build.build_temp = str(folder / "libraries"), str(folder / "objects")
    build.ensure_finalized()
    build.run()


if __name__ == "__main__":
    _compile(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
