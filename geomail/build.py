"""The build that runs: compiled or pure Python, on which Python and OpenSSL."""

from __future__ import annotations

import platform
import ssl
from importlib.machinery import ExtensionFileLoader
from importlib.util import find_spec

from geomail import __version__

#: The figure is README.md's, under "Performance".
_ADVICE = (
    "this build is pure Python: an IMAP session takes some 40 % more CPU than in the compiled build. "
    "To get that one, install a C compiler and Python's headers (Debian: gcc and python3-dev), "
    "then install geomail again"
)


def is_compiled() -> bool:
    """Look at a module that every compiled build compiles."""
    wire = find_spec("geomail.net.wire")
    return wire is not None and isinstance(wire.loader, ExtensionFileLoader)


def described() -> str:
    """Name version and build: ``geomail 0.2.0 (compiled, CPython 3.11.7, OpenSSL 3.0.19)``."""
    build = "compiled" if is_compiled() else "pure Python"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    library = " ".join(ssl.OPENSSL_VERSION.split()[:2])
    return f"geomail {__version__} ({build}, {python}, {library})"


def introduced() -> str:
    """Describe the build, in a second line also what a pure one costs, and how to get the other."""
    return described() if is_compiled() else f"{described()}\n{_ADVICE}"
