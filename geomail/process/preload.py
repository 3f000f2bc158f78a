"""Modules that a process may import later, imported before the first fork.

Later may be too late: the user that workers run as may not be able to read the
interpreter, and an upgrade may have replaced the files beneath a server that
runs. So nothing is imported once the master has started its first child, by
whatever a reload, a client or an operator brings.
"""

from __future__ import annotations

import codecs
import importlib
import linecache
import pkgutil
from collections.abc import Iterator

from gevent import config as gevent_config

import geomail
from geomail.net.openssl.binding import is_available

#: Packages of commands alone: no server needs them.
_OF_COMMANDS = ("geomail.config.nginx", "geomail.preview")
#: What others import inside their functions: socket.recv_fds, getaddrinfo's IDNA, gevent's threads.
_LATE = ("array", "encodings.idna", "gevent.threadpool", "stringprep", "unicodedata")
#: Every encoding that geomail or what it uses may name.
CODECS = (
    "ascii",
    "idna",
    "latin-1",
    "punycode",
    "raw_unicode_escape",
    "unicode_escape",
    "utf-8",
    "utf-8-sig",
)


def preload() -> None:
    """Import everything that a server may need. It makes no hub, as a hub would live in every child."""
    for name in (*_modules(), *_LATE):
        importlib.import_module(name)
    for codec in CODECS:
        codecs.lookup(codec)
    for name in ("format_context", "resolver", "threadpool"):  # what a hub is made of
        getattr(gevent_config, name)
    is_available()  # libssl, where it can be had
    linecache.updatecache = _no_source


def _modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(geomail.__path__, "geomail."):
        if not module.name.startswith(_OF_COMMANDS):
            yield module.name


def _no_source(filename: str, module_globals: dict[str, object] | None = None) -> list[str]:
    """Show no source in a traceback: the file may be closed to us, or another version's by now."""
    return []
