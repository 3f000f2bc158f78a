"""TLS sessions in memory that processes share, for ``ssl_session_cache = "shared:NAME:SIZE"``."""

from __future__ import annotations

import functools
import hashlib
import mmap
from typing import ClassVar

from geomail.net.ticket_keys import ChangingKeys

#: Longest session that is kept; a client's certificate is part of its session.
LARGEST = 8192
_SLOT = 256
_DIGEST, _SIZE = 16, 2
_HEAD = _DIGEST + _SIZE


class SessionCache:
    """Sessions by their id, in ``size`` bytes; made before the processes that share it are forked.

    There is no lock: an entry carries a digest, and one that another process
    has written over, wholly or in part, is not found. A session may be lost,
    as from any cache; it is never another one. How long one is good for is in
    the session.
    """

    #: How often fresh keys of tickets were to be drawn.
    drawing: ClassVar[int] = 0

    def __init__(self, size: int) -> None:
        self._slots = max(1, (size - _HEAD - LARGEST) // _SLOT)
        self._memory = mmap.mmap(-1, self._slots * _SLOT + _HEAD + LARGEST)
        self._ticket_keys: dict[float, tuple[int, ChangingKeys]] = {}

    def ticket_keys(self, life: float) -> ChangingKeys:
        """Keys of tickets for servers that share the cache and whose sessions live for ``life`` seconds.

        They are the same until :func:`draw_fresh_ticket_keys` is called.
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
        start = self._place(session_id)
        self._memory[start : start + len(entry)] = entry

    def get(self, session_id: bytes) -> bytes | None:
        """The session of this id, if it is still there."""
        start = self._place(session_id)
        head = self._memory[start : start + _HEAD]
        size = int.from_bytes(head[_DIGEST:], "big")
        if not 0 < size <= LARGEST:
            return None
        session = self._memory[start + _HEAD : start + _HEAD + size]
        return session if head[:_DIGEST] == _digest(session_id, session) else None

    def remove(self, session_id: bytes) -> None:
        """Forget a session, if it is there."""
        if self.get(session_id) is not None:
            start = self._place(session_id)
            self._memory[start : start + _HEAD] = bytes(_HEAD)

    def _place(self, session_id: bytes) -> int:
        return int.from_bytes(session_id[:8], "big") % self._slots * _SLOT


def draw_fresh_ticket_keys() -> None:
    """Draw random keys for the contexts that are made from now on: once, before those of a reload."""
    SessionCache.drawing += 1


@functools.cache
def shared_cache(name: str, size: int) -> SessionCache:
    """The cache of this name and size: one for all servers that name it, and kept over reloads."""
    return SessionCache(size)


def _digest(session_id: bytes, session: bytes) -> bytes:
    return hashlib.blake2b(session, digest_size=_DIGEST, key=session_id).digest()
