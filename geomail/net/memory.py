"""glibc's allocator, told what a proxy does with memory; another C library is left as it is."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Bytes at the end of the heap that are kept when they are free, and of a piece that gets memory of its own.
_KEPT, _LARGE = 16 << 20, 4 << 20


def keep_for_buffers() -> None:
    """Keep what is freed: the buffers of a busy relay come and go, some thousand times a second.

    By itself, glibc gives the last of them back to the system and asks for it
    again, page by page: half of what bulk under TLS costs can be that.
    """
    _call("mallopt", _TRIM_THRESHOLD, _KEPT)
    _call("mallopt", _MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Return all that is free to the system: by itself, glibc keeps whatever lies below something in use."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)  # glibc's own
    if function is not None:
        function(*arguments)
