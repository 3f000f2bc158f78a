"""Good answers of an auth service, kept for a short while (``auth_http_cache``)."""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from geomail.auth.base import Accepted
    from geomail.protocols.base import Login, Peer

#: Answers that one process keeps for one server; the oldest goes first.
MOST_KEPT = 10_000


class AnswerCache:
    """Answers that let a client in, each for ``seconds``; refusals are never kept.

    A key is a hash with a secret of this process over all that the answer may
    depend on, so that no password of a client is held here.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._secret = secrets.token_bytes(32)
        self._answers: OrderedDict[bytes, tuple[float, Accepted]] = OrderedDict()

    def key(self, login: Login, peer: Peer, protocol: str) -> bytes | None:
        """Where the answer about this login is kept; None if it must be asked for each time.

        Only a password is worth it: a digest is another one each time, and
        who sends mail without a login is judged by each recipient.
        """
        if login.method != "plain":
            return None
        digest = blake2b(key=self._secret, digest_size=32)
        parts = (login.user, login.password, protocol.encode(), peer.address.encode(), peer.name)
        for part in (*parts, *(word.encode() for word in peer.tls or ()), repr(peer.certificate).encode()):
            digest.update(b"%d:%b" % (len(part), part))
        return digest.digest()

    def get(self, key: bytes) -> Accepted | None:
        """The answer that is kept, if it is young enough."""
        kept = self._answers.get(key)
        if kept is None:
            return None
        until, answer = kept
        if until < time.monotonic():
            del self._answers[key]
            return None
        return answer

    def put(self, key: bytes, answer: Accepted) -> None:
        """Keep an answer."""
        self._answers[key] = time.monotonic() + self._seconds, answer
        self._answers.move_to_end(key)
        if len(self._answers) > MOST_KEPT:
            self._answers.popitem(last=False)
