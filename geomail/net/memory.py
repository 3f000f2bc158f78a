"""Settings of glibc's allocator for a proxy; with another C library, most functions here do nothing."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _PERTURB = -1, -3, -6
#: The free bytes that are kept at the end of the heap, and the size of a piece that gets memory of its own.
_KEPT, _LARGE = 16 << 20, 4 << 20
#: The byte that fills freed memory: anything but 0.
_FILLING = 0xA5
#: Sizes of the pieces that glibc keeps for the next allocation, and how many it keeps of each size.
_SMALL, _AT_HAND = range(24, 1033, 16), 7


def wipe_freed_memory(enabled: bool = True) -> None:
    """Overwrite memory when it is freed, from now on: code that reads a key leaves its text in freed pieces.

    Small pieces are not overwritten until :func:`wipe`: glibc keeps them for the same thread.
    """
    _call("mallopt", _PERTURB, _FILLING if enabled else 0)


def wipe(secrets: Collection[bytes]) -> None:
    """Overwrite small pieces of freed memory, and these texts wherever they are, the arguments included.

    Python frees small objects without glibc, and leaves their content in memory.
    Call this when no code needs the texts any more, and before other threads start.
    """
    _wipe_small_pieces()
    find = getattr(ctypes.CDLL(None), "memmem", None)
    if find is None or not secrets:
        return
    find.restype = ctypes.c_void_p
    find.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    places = list(_list_writable_places())
    for secret in secrets:
        found = [place for start, size in places for place in _find_all(find, start, size, secret)]
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


def _list_writable_places() -> Iterator[tuple[int, int]]:
    """Yield start and size of all memory that this process can read and write."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, mode, *_ = line.split()
        if mode.startswith("rw"):
            start, end = (int(address, 16) for address in place.split("-"))
            yield start, end - start


def _find_all(find: Callable[..., int | None], start: int, size: int, secret: bytes) -> Iterator[int]:
    end = start + size
    while (place := find(start, end - start, secret, len(secret))) is not None:
        yield place
        start = place + 1


def keep_freed_memory() -> None:
    """Keep freed memory: a busy relay allocates and frees its buffers some thousand times a second.

    By itself, glibc returns the last buffer to the system and asks for it again,
    page by page. That can be half the cost of bulk under TLS.
    """
    _call("mallopt", _TRIM_THRESHOLD, _KEPT)
    _call("mallopt", _MMAP_THRESHOLD, _LARGE)


def give_back() -> None:
    """Return all free memory to the system: by itself, glibc keeps the memory below a piece in use."""
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)  # glibc's own
    if function is not None:
        function(*arguments)
