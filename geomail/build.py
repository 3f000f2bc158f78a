"""The running build: compiled or pure Python, with its Python and OpenSSL."""

from __future__ import annotations

import platform
import ssl
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec

from geomail import __version__

#: The figure is README.md's, under "Performance".
_ADVICE = (
    "this build is pure Python: an IMAP session takes some 40 % more CPU than in the compiled build. "
    "To get the compiled build, install a C compiler and Python's headers (Debian: gcc and python3-dev), "
    "then install geomail again"
)


def is_compiled() -> bool:
    """Tell whether this is the compiled build, by a module that every compiled build compiles."""
    wire = find_spec("geomail.net.wire")
    return wire is not None and isinstance(wire.loader, ExtensionFileLoader)


def describe_build() -> str:
    """Return version and build: ``geomail 0.2.0 (compiled, CPython 3.11.7, OpenSSL 3.0.19)``."""
    build = "compiled" if is_compiled() else "pure Python"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    library = " ".join(ssl.OPENSSL_VERSION.split()[:2])
    return f"geomail {__version__} ({build}, {python}, {library})"


def introduce_build() -> str:
    """Describe the build; for a pure one, a second line tells its cost and how to get the compiled one."""
    return describe_build() if is_compiled() else f"{describe_build()}\n{_ADVICE}"
