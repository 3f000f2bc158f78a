"""glibc's allocator, told what a proxy does with memory; another C library is left as it is."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _PERTURB = -1, -3, -6
#: Bytes at the end of the heap that are kept when they are free, and of a piece that gets memory of its own.
_KEPT, _LARGE = 16 << 20, 4 << 20
#: What freed memory is filled with: anything but 0.
_FILLING = 0xA5
#: Sizes of the pieces that glibc has at hand, and how many it has of each.
_SMALL, _AT_HAND = range(24, 1033, 16), 7


def wipe_what_is_freed(wanted: bool = True) -> None:
    """Write over what is freed, from now on: what reads a key leaves its text in pieces that it frees.

    Small pieces are not written over until :func:`wipe`: glibc has them at hand for the same thread.
    """
    _call("mallopt", _PERTURB, _FILLING if wanted else 0)


def wipe(secrets: Collection[bytes]) -> None:
    """Write over small pieces of freed memory, and over these texts wherever they are, also as given.

    Python frees small objects without glibc, and leaves what they held. Call it
    where nobody needs the texts any more, before there are other threads.
    """
    _wipe_small_pieces()
    find = getattr(ctypes.CDLL(None), "memmem", None)
    if find is None or not secrets:
        return
    find.restype = ctypes.c_void_p
    find.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    places = list(_writable())
    for secret in secrets:
        found = [place for start, size in places for place in _all(find, start, size, secret)]
        for place in found:
            ctypes.memset(place, 0, len(secret))


def _wipe_small_pieces() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    for size in _SMALL:
        pieces = [libc.malloc(size) for _ in range(_AT_HAND)]
        for piece in pieces:
            ctypes.memset(piece, 0, size)
            libc.free(piece)


def _writable() -> Iterator[tuple[int, int]]:
    """Yield the places where this process can read and write, and their sizes."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, mode, *_ = line.split()
        if mode.startswith("rw"):
            start, end = (int(address, 16) for address in place.split("-"))
            yield start, end - start


def _all(find: Callable[..., int | None], start: int, size: int, secret: bytes) -> Iterator[int]:
    end = start + size
    while (place := find(start, end - start, secret, len(secret))) is not None:
        yield place
        start = place + 1


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
