"""The cache of TLS sessions in shared memory, for ``ssl_session_cache = "shared:NAME:SIZE"``."""

from __future__ import annotations

import functools
import hashlib
import mmap
from typing import ClassVar

from geomail.net.ticket_keys import ChangingKeys

#: The most bytes of a session that is kept; a client's certificate is part of its session.
LARGEST = 8192
_SLOT = 256
_DIGEST, _SIZE = 16, 2
_HEAD = _DIGEST + _SIZE


class SessionCache:
    """A table of sessions by their id, in ``size`` bytes; make it before forking the processes that share it.

    It needs no lock: each entry has a digest, and an entry that another process
    has overwritten, wholly or in part, is not found. So a session may be lost,
    as from any cache, but it is never mistaken for another. The session itself
    holds the time until which it is valid.
    """

    #: The number of calls of :func:`draw_fresh_ticket_keys`.
    drawing: ClassVar[int] = 0

    def __init__(self, size: int) -> None:
        self._slots = max(1, (size - _HEAD - LARGEST) // _SLOT)
        self._memory = mmap.mmap(-1, self._slots * _SLOT + _HEAD + LARGEST)
        self._ticket_keys: dict[float, tuple[int, ChangingKeys]] = {}

    def get_ticket_keys(self, life: float) -> ChangingKeys:
        """Return the ticket keys of servers that share the cache, with sessions of ``life`` seconds.

        The keys are the same until :func:`draw_fresh_ticket_keys` is called.
        """
        drawn, keys = self._ticket_keys.get(life, (-1, None))
        if keys is None or drawn < SessionCache.drawing:
            keys = ChangingKeys(life, keys)
            self._ticket_keys[life] = SessionCache.drawing, keys
        return keys

    def put(self, session_id: bytes, session: bytes) -> None:
        """Keep a session, unless it is over :data:`LARGEST` bytes."""
        if len(session) > LARGEST:
            return
        entry = _digest(session_id, session) + len(session).to_bytes(_SIZE, "big") + session
        start = self._find_place(session_id)
        self._memory[start : start + len(entry)] = entry

    def get(self, session_id: bytes) -> bytes | None:
        """Return the session of this id; None if it is not there."""
        start = self._find_place(session_id)
        head = self._memory[start : start + _HEAD]
        size = int.from_bytes(head[_DIGEST:], "big")
        if not 0 < size <= LARGEST:
            return None
        session = self._memory[start + _HEAD : start + _HEAD + size]
        return session if head[:_DIGEST] == _digest(session_id, session) else None

    def remove(self, session_id: bytes) -> None:
        """Forget a session, if it is there."""
        if self.get(session_id) is not None:
            start = self._find_place(session_id)
            self._memory[start : start + _HEAD] = bytes(_HEAD)

    def _find_place(self, session_id: bytes) -> int:
        return int.from_bytes(session_id[:8], "big") % self._slots * _SLOT


def draw_fresh_ticket_keys() -> None:
    """Draw random keys for the contexts that are made from now on; call it once, before those of a reload."""
    SessionCache.drawing += 1


@functools.cache
def get_shared_cache(name: str, size: int) -> SessionCache:
    """Return the cache of this name and size: all servers that name it share it, and a reload keeps it."""
    return SessionCache(size)


def _digest(session_id: bytes, session: bytes) -> bytes:
    return hashlib.blake2b(session, digest_size=_DIGEST, key=session_id).digest()
