"""Keys of TLS session tickets: keys from files, and keys that change with time in all workers at once."""

from __future__ import annotations

import mmap
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

#: Seconds for which a key is the only one: from the last session of the key before it to the next change.
#: With one key, OpenSSL opens tickets by itself; with two keys it needs a callback.
ALONE = 3600.0
#: Seconds after a reload in which old workers may still make tickets, for clients that they have accepted;
#: and the most reloads whose keys are kept.
_OVERLAP, _MOST_OLDER = 60.0, 8
_SECRET, _EPOCH, _DIGEST = 32, 8, 16
_BODY = _EPOCH + _SECRET
_SLOT = _BODY + _DIGEST


@dataclass(frozen=True, slots=True)
class TicketKey:
    """A ticket key, as in nginx's files: 80 bytes (AES-256), or 48 (AES-128)."""

    name: bytes = field(repr=False)
    aes: bytes = field(repr=False)
    hmac: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> TicketKey | None:
        """Return the key in these bytes; None unless they are 48 or 80."""
        if len(data) == 80:
            return cls(name=data[:16], hmac=data[16:48], aes=data[48:])
        if len(data) == 48:
            return cls(name=data[:16], aes=data[16:32], hmac=data[32:])
        return None


class ChangingKeys:
    """Keys that change every ``life`` + ALONE seconds; make them before the processes are forked.

    ``life`` is the life of sessions: for that many seconds after a change,
    the previous key still opens its tickets. Then only one key is left.

    Each key is made of a secret. The next secret is a digest of the present
    one, which cannot be computed back. So the process that needs the next secret first
    writes the same bytes as any other would, and no lock is needed; and an
    attacker that reads the memory can open no ticket of earlier times. There are
    two places, written in turn, as a process may be killed while it writes; while
    only one key is in use, both hold the same.

    An attacker that reads the memory also knows all keys to come, until a reload:
    that begins with a random secret. ``before`` are the keys up to the reload;
    their tickets are opened until they are over. They are in memory of their own,
    so that old workers are not disturbed, and can stay if the reload fails.
    """

    def __init__(self, life: float, before: ChangingKeys | None = None) -> None:
        self._life = life
        self._period = life + ALONE
        self._memory = mmap.mmap(-1, 2 * _SLOT)
        now = time.monotonic()
        self._older: list[ChangingKeys] = []
        self._older_end = now + life + _OVERLAP
        if before is not None:
            self._older = [each for each in (before, *before._older) if each._list_opening(now)][:_MOST_OLDER]
            before._older = []
        self.get_current()

    def get_current(self) -> tuple[list[TicketKey], float]:
        """Return the key in use, then the earlier keys that still open tickets; and when that changes.

        The time is of time.monotonic().
        """
        now = time.monotonic()
        keys, end = self._advance(now)
        if now >= self._older_end:
            self._erase_older()
        older = [key for each in self._older for key in each._list_opening(now)]
        return keys + older, min(end, self._older_end) if older else end

    def _list_opening(self, now: float) -> list[TicketKey]:
        """Return the keys in memory whose tickets may still be valid."""
        ends = ((secret, (epoch + 1) * self._period + self._life) for epoch, secret in set(self._read()))
        return [_make_key(secret) for secret, end in ends if now < end]

    def _erase_older(self) -> None:
        for each in self._older:
            each._memory[:] = bytes(2 * _SLOT)
        self._older = []

    def _advance(self, now: float) -> tuple[list[TicketKey], float]:
        """Compute the secrets up to now; return the keys that are made of them, and when that changes."""
        today = int(now / self._period)
        known = dict(self._read()) or {
            today: secrets.token_bytes(_SECRET)
        }  # memory is empty, or both are torn
        epoch = max(known)
        for following in range(epoch + 1, today + 1):
            known = {epoch: known[epoch], following: _digest(known[epoch], b"next")}
            epoch = following
        alone_from, end = epoch * self._period + self._life, (epoch + 1) * self._period
        if epoch - 1 in known and now < alone_from:
            before, until = epoch - 1, alone_from
        else:
            before, until = epoch, end
        self._write(epoch - 1, before, known[before])
        self._write(epoch, epoch, known[epoch])
        return [_make_key(known[each]) for each in sorted({epoch, before}, reverse=True)], until

    def _read(self) -> Iterator[tuple[int, bytes]]:
        for start in (0, _SLOT):
            body, digest = self._memory[start : start + _BODY], self._memory[start + _BODY : start + _SLOT]
            if digest == _digest(body, b"whole", _DIGEST):
                yield int.from_bytes(body[:_EPOCH], "big"), body[_EPOCH:]

    def _write(self, place: int, epoch: int, secret: bytes) -> None:
        body = epoch.to_bytes(_EPOCH, "big") + secret
        start = place % 2 * _SLOT
        self._memory[start : start + _SLOT] = body + _digest(body, b"whole", _DIGEST)


def _make_key(secret: bytes) -> TicketKey:
    return TicketKey(
        name=_digest(secret, b"name", 16), aes=_digest(secret, b"aes"), hmac=_digest(secret, b"hmac")
    )


def _digest(data: bytes, purpose: bytes, size: int = _SECRET) -> bytes:
    return blake2b(data, digest_size=size, person=purpose).digest()
