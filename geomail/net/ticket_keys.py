"""Keys of TLS session tickets: those of files, and those that change with time, in all workers at once."""

from __future__ import annotations

import mmap
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

#: Seconds that a key is the only one, between the life of the sessions of the key before and the next change:
#: OpenSSL can open tickets of one key by itself, but not those of two.
ALONE = 3600.0
#: Seconds after a reload in which workers of before it may still make tickets, for clients that they have
#: accepted; and the most reloads of which keys are kept.
_OVERLAP, _MOST_OLDER = 60.0, 8
_SECRET, _EPOCH, _DIGEST = 32, 8, 16
_BODY = _EPOCH + _SECRET
_SLOT = _BODY + _DIGEST


@dataclass(frozen=True, slots=True)
class TicketKey:
    """A key as it stands in nginx's files: 80 bytes (AES-256), or 48 (AES-128)."""

    name: bytes = field(repr=False)
    aes: bytes = field(repr=False)
    hmac: bytes = field(repr=False)

    @classmethod
    def parse(cls, data: bytes) -> TicketKey | None:
        """The key in these bytes; None if they are not 48 or 80."""
        if len(data) == 80:
            return cls(name=data[:16], hmac=data[16:48], aes=data[48:])
        if len(data) == 48:
            return cls(name=data[:16], aes=data[16:32], hmac=data[32:])
        return None


class ChangingKeys:
    """A new key every ``life`` and ALONE seconds; made before the processes that share it are forked.

    ``life`` is that of sessions: for so many seconds after a change, the key
    before opens the tickets that it made; then there is one key alone.

    The secret that a key is made of follows from the one before, and not the
    other way round. So whoever is the first to need the next writes what anybody
    else would write, and no lock is wanted; and memory that is read later on
    opens no ticket of earlier times. There are two places, one written in turn
    with the other, as a process may be killed while it writes; they hold the
    same where only one key is in use.

    An attacker that reads the memory knows all keys to come, too, until there are
    others: at a reload, the first secret is a random one. ``before`` are the
    keys up to then, of which the tickets are opened for their time; that they
    are in memory of their own lets workers from before the reload go on as
    they did, and be those that stay if the reload is given up.
    """

    def __init__(self, life: float, before: ChangingKeys | None = None) -> None:
        self._life = life
        self._period = life + ALONE
        self._memory = mmap.mmap(-1, 2 * _SLOT)
        now = time.monotonic()
        self._older: list[ChangingKeys] = []
        self._older_end = now + life + _OVERLAP
        if before is not None:
            self._older = [each for each in (before, *before._older) if each._opening(now)][:_MOST_OLDER]
            before._older = []
        self.current()

    def current(self) -> tuple[list[TicketKey], float]:
        """The key in use, then the earlier keys that still open tickets; and until when this is so.

        That is of time.monotonic().
        """
        now = time.monotonic()
        keys, end = self._own(now)
        if now >= self._older_end:
            self._erase_older()
        older = [key for each in self._older for key in each._opening(now)]
        return keys + older, min(end, self._older_end) if older else end

    def _opening(self, now: float) -> list[TicketKey]:
        """The keys that are in memory, as long as there may be tickets of theirs."""
        ends = ((secret, (epoch + 1) * self._period + self._life) for epoch, secret in set(self._read()))
        return [_key(secret) for secret, end in ends if now < end]

    def _erase_older(self) -> None:
        for each in self._older:
            each._memory[:] = bytes(2 * _SLOT)
        self._older = []

    def _own(self, now: float) -> tuple[list[TicketKey], float]:
        today = int(now / self._period)
        known = dict(self._read()) or {today: secrets.token_bytes(_SECRET)}  # nothing there yet, or all torn
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
        return [_key(known[each]) for each in sorted({epoch, before}, reverse=True)], until

    def _read(self) -> Iterator[tuple[int, bytes]]:
        for start in (0, _SLOT):
            body, digest = self._memory[start : start + _BODY], self._memory[start + _BODY : start + _SLOT]
            if digest == _digest(body, b"whole", _DIGEST):
                yield int.from_bytes(body[:_EPOCH], "big"), body[_EPOCH:]

    def _write(self, place: int, epoch: int, secret: bytes) -> None:
        body = epoch.to_bytes(_EPOCH, "big") + secret
        start = place % 2 * _SLOT
        self._memory[start : start + _SLOT] = body + _digest(body, b"whole", _DIGEST)


def _key(secret: bytes) -> TicketKey:
    return TicketKey(
        name=_digest(secret, b"name", 16), aes=_digest(secret, b"aes"), hmac=_digest(secret, b"hmac")
    )


def _digest(data: bytes, purpose: bytes, size: int = _SECRET) -> bytes:
    return blake2b(data, digest_size=size, person=purpose).digest()
