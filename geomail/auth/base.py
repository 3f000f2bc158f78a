"""What every auth source gives: a verdict on one login."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from geomail.parties import Refusal

if TYPE_CHECKING:
    from geomail.backends import Route
    from geomail.parties import Client, Login


@dataclass(slots=True)  # not frozen: every login makes one, and that would take three times as long
class Accepted:
    """The client may log in: by which route, and as which user. It is never changed.

    ``user`` and ``password`` are the backend's, after what the source replaced.
    ``password`` is None where none is known (a digest is no password).
    Neither holds CR, LF or NUL.
    """

    route: Route
    user: bytes
    password: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The client is told no, after ``wait`` seconds; ``close`` ends the session with it.

    ``user`` is the login as the source names it, for the log; empty: as the client gave it.
    ``reason`` is the log's too; empty: the words of the refusal.
    """

    refusal: Refusal
    wait: float
    close: bool
    user: bytes = b""
    reason: str = ""


Verdict = Accepted | Refused

#: Notes what concerns the process rather than one session: a word that it is counted under, and what the log
#: says of it, empty for nothing.
Note = Callable[[str, str], object]


class Source(metaclass=ABCMeta):
    """Who is asked about a login: made once per ``[[mail.server]]``, shared by its sessions.

    ``passthrough``: nobody was asked, the backend verifies what the client gave.
    """

    passthrough: ClassVar[bool] = False

    @abstractmethod
    def check(self, login: Login, client: Client, protocol: str, attempt: int) -> Verdict:
        """Judge a login; ``attempt`` counts the session's, from 1.

        Raises AuthUnavailable where there is no usable answer, PeerTimeout
        where it took too long.
        """

    def refused_by_backend(self, login: Login, client: Client, protocol: str) -> None:  # noqa: B027
        """Hear that a backend refused the credentials that the source let in: what is kept of it is wrong."""

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Give up what is held between logins: idle connections, say."""
