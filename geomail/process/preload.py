"""Modules that a process may import later, imported before the first fork.

Later may be too late: the user of the workers may not be able to read the
interpreter, and an upgrade may replace the files while the server runs. So no
process imports anything once the master has started its first child, whatever
a reload, a client or an operator causes.
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

#: Packages that only commands use, never a server.
_OF_COMMANDS = ("geomail.config.nginx", "geomail.preview")
#: Modules that others import inside their functions: socket.recv_fds, getaddrinfo (IDNA), gevent's threads.
_LATE = ("array", "encodings.idna", "gevent.threadpool", "stringprep", "unicodedata")
#: Every encoding that geomail or its libraries may use.
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
    """Import everything that a server may need; make no hub, which would live in every child."""
    for name in (*_list_modules(), *_LATE):
        importlib.import_module(name)
    for codec in CODECS:
        codecs.lookup(codec)
    for name in ("format_context", "resolver", "threadpool"):  # the parts of a hub
        getattr(gevent_config, name)
    is_available()  # loads libssl, if it can
    linecache.updatecache = _no_source


def _list_modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(geomail.__path__, "geomail."):
        if not module.name.startswith(_OF_COMMANDS):
            yield module.name


def _no_source(filename: str, module_globals: dict[str, object] | None = None) -> list[str]:
    """Show no source in a traceback: this process may not read the file, or it may be of another version."""
    return []
