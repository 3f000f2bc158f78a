"""The C library's crypt(3), for the hashes that it knows: other threads can run while it works.

The library is loaded when this module is imported, before privileges are
dropped. Without a library, or if it fails its test, nothing can be hashed here.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

#: libxcrypt's two names; None is the C library itself, which has crypt(3) in musl.
_LIBRARIES: Final = ("libcrypt.so.2", "libcrypt.so.1", None)
#: Bytes of ``struct crypt_data``: glibc's own, the largest of all.
_ROOM: Final = 131232
#: The most bytes of a password for libxcrypt.
_LONGEST: Final = 511
#: Hashes of "pass word", to test that a library works.
_TESTS: Final = (
    b"$5$t0ow8q9nvw1EEv6g$cTHnLa2KjVz.5Yqe31KD/SiKLt1wd.BX5ERVmOCIQ48",
    b"$6$LM9gn76nE92JSidw$AXHebUzXlWf6jC4RxYpgsTJGreKR2PfK1ePF.cEYPcHevgJ1.w5DWQ/vFl99xNT6cBert15lZCY9qs7okOBJi/",
)


def can_hash(password: bytes) -> bool:
    """Tell whether :func:`crypt` can hash this password."""
    return _crypt_r is not None and len(password) <= _LONGEST and b"\0" not in password


def crypt(password: bytes, setting: bytes) -> bytes | None:
    """Hash a password with the scheme, cost and salt of another hash; return None if that is not possible."""
    return _hash(_crypt_r, password, setting) if can_hash(password) else None


def _hash(crypt_r: Any, password: bytes, setting: bytes) -> bytes | None:
    room = ctypes.create_string_buffer(_ROOM)
    made: bytes | None = crypt_r(password, setting, room)
    ctypes.memset(room, 0, _ROOM)  # it holds the password
    return None if made is None or made.startswith(b"*") else made


def _find_library() -> Any:
    for name in _LIBRARIES:
        try:
            crypt_r = ctypes.CDLL(name).crypt_r
        except (OSError, AttributeError):
            continue
        crypt_r.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
        crypt_r.restype = ctypes.c_char_p
        if all(_hash(crypt_r, b"pass word", known) == known for known in _TESTS):
            return crypt_r
    return None


_crypt_r: Final = _find_library()
