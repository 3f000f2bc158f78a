"""The interface of every auth source: it gives a verdict on one login."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from geomail.parties import Refusal

if TYPE_CHECKING:
    from geomail.backends import Route
    from geomail.parties import Client, Login


@dataclass(slots=True)  # not frozen: each login makes one, and a frozen one takes three times as long
class Accepted:
    """A verdict that lets the client log in, with the route and the user. No code changes it.

    ``user`` and ``password`` are for the backend; the auth source may have replaced
    the client's. ``password`` is None if the source does not know it (a digest is
    not a password). Neither holds CR, LF or NUL.
    """

    route: Route
    user: bytes
    password: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """A verdict that refuses the login, after ``wait`` seconds; ``close`` ends the session with it.

    ``user`` is the user's name for the log; empty: the name that the client gave.
    ``reason`` is the reason for the log; empty: the words of the refusal.
    """

    refusal: Refusal
    wait: float
    close: bool
    user: bytes = b""
    reason: str = ""


Verdict = Accepted | Refused

#: Notes an incident of the process: its kind, and its text for the log (empty: none).
Note = Callable[[str, str], object]


class Source(metaclass=ABCMeta):
    """An auth source: made once for each ``[[mail.server]]``, and shared by its sessions.

    ``passthrough``: the backend verifies the client's credentials, not this source.
    """

    passthrough: ClassVar[bool] = False

    @abstractmethod
    def check(self, login: Login, client: Client, protocol: str, attempt: int) -> Verdict:
        """Judge a login; ``attempt`` is its number in the session, from 1.

        Raises AuthUnavailable if there is no usable answer, PeerTimeout if the
        answer takes too long.
        """

    def note_backend_refusal(self, login: Login, client: Client, protocol: str) -> None:  # noqa: B027
        """Forget a verdict: a backend refused the credentials that this source accepted."""

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Release what the source holds between logins, such as idle connections."""
