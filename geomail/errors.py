"""Every error that geomail raises on purpose; any other exception is a bug.

A :class:`SessionError` ends a session (or one attempt to log in). It names the
side to blame and the outcome for logs and metrics. Its private text is for the
operator; the client gets its :class:`Farewell`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Literal

Side = Literal["client", "auth", "backend", "geomail"]


class Farewell(Enum):
    """A message to a client whose session fails; each protocol puts it into its own words."""

    NOTHING = "nothing"
    #: The client gets no reason, only the protocol's closing line.
    GOODBYE = "goodbye"
    INVALID_COMMAND = "invalid command"
    #: The auth source or the backend failed: the client may try again later, with the same credentials.
    INTERNAL_ERROR = "internal error"
    #: The credentials were refused.
    CREDENTIALS = "credentials"
    EARLY_TALKER = "early talker"
    CERTIFICATE_ERROR = "certificate error"
    NO_CERTIFICATE = "no certificate"
    SHUTDOWN = "shutdown"


class GeomailError(Exception):
    """The base of all errors that are raised on purpose."""


class LineBreakError(GeomailError):
    """A line to be sent holds CR, LF or NUL: it would forge a second command."""


class SessionError(GeomailError):
    """A session cannot go on as planned.

    ``str(error)`` is the private text: for the log, never for the client.
    ``hint`` tells the operator how to repair it; empty if geomail does not know.
    """

    outcome: ClassVar[str] = "error"
    farewell: Farewell = Farewell.INTERNAL_ERROR
    hint: str = ""

    def __init__(self, private: str, *, blame: Side = "geomail", step: str = "") -> None:
        super().__init__(private)
        self.blame: Side = blame
        self.step = step


class PeerGone(SessionError):
    """A peer closed or reset its connection."""

    outcome = "gone"

    def __init__(self, private: str, *, blame: Side, step: str = "") -> None:
        super().__init__(private, blame=blame, step=step)
        if blame == "client":
            self.farewell = Farewell.NOTHING


class PeerTimeout(SessionError):
    """A peer was silent for longer than the configuration allows."""

    outcome = "timeout"

    def __init__(self, private: str, *, blame: Side, step: str = "") -> None:
        super().__init__(private, blame=blame, step=step)
        if blame == "client":
            self.farewell = Farewell.GOODBYE


class LineTooLong(SessionError):
    """A peer sent a line, literal or reply that is over its limit.

    ``start`` holds its first bytes (an IMAP tag may be in them).
    """

    outcome = "too_long"
    farewell = Farewell.INVALID_COMMAND

    def __init__(self, private: str, *, blame: Side, start: bytes = b"", step: str = "") -> None:
        super().__init__(private, blame=blame, step=step)
        self.start = start
        if blame != "client":
            self.farewell = Farewell.INTERNAL_ERROR


class TooManyErrors(SessionError):
    """A client used up its ``max_errors``, ``max_commands`` or login attempts.

    It is raised after the last reply was sent.
    """

    outcome = "too_many_errors"
    farewell = Farewell.GOODBYE


class LoginDenied(SessionError):
    """A login was refused for good. It is raised after the refusal was sent to the client."""

    outcome = "refused"
    farewell = Farewell.GOODBYE


class EarlyTalker(SessionError):
    """An SMTP client spoke before the greeting (``smtp_greeting_delay``)."""

    outcome = "early_talker"
    farewell = Farewell.EARLY_TALKER


class ProtocolViolation(SessionError):
    """A peer broke a security rule: it sent bytes behind STARTTLS, for example."""

    outcome = "violation"
    farewell = Farewell.NOTHING


class ProxyHeaderError(SessionError):
    """A client's PROXY header is broken, oversized or missing."""

    outcome = "bad_proxy_header"
    farewell = Farewell.NOTHING


class TlsFailed(SessionError):
    """A TLS handshake failed, or a record could not be read."""

    outcome = "tls_failed"

    def __init__(self, private: str, *, blame: Side, step: str = "") -> None:
        super().__init__(private, blame=blame, step=step)
        if blame == "client":
            self.farewell = Farewell.NOTHING


class CertificateError(SessionError):
    """A client's certificate did not pass ``ssl_verify_client``."""

    outcome = "certificate_error"
    farewell = Farewell.CERTIFICATE_ERROR

    def __init__(self, error: int, reason: str) -> None:
        super().__init__(f"client SSL certificate verify error: ({error}:{reason})", blame="client")


class NoCertificate(SessionError):
    """A client sent no certificate, but ``ssl_verify_client`` demands one."""

    outcome = "no_certificate"
    farewell = Farewell.NO_CERTIFICATE

    def __init__(self) -> None:
        super().__init__("client sent no required SSL certificate", blame="client")


class AuthUnavailable(SessionError):
    """The auth source gave no usable answer: it is down, silent, or its answer makes no sense."""

    outcome = "auth_error"

    def __init__(self, private: str, *, step: str = "") -> None:
        super().__init__(private, blame="auth", step=step)


class BackendUnreachable(SessionError):
    """geomail could not connect to the backend."""

    outcome = "backend_unreachable"

    def __init__(self, private: str, *, step: str = "connect") -> None:
        super().__init__(private, blame="backend", step=step)


class BackendGarbage(SessionError):
    """The backend's reply does not follow its protocol."""

    outcome = "backend_garbage"

    def __init__(self, private: str, *, step: str = "") -> None:
        super().__init__(private, blame="backend", step=step)


class BackendRefused(SessionError):
    """The backend refused during the handshake.

    ``reply`` holds its lines without line ends (``proxy_pass_error_message`` may
    pass them to the client). ``credentials``: the backend refused user and
    password, and not another command. ``temporary``: it asked to try again later.
    ``explicit``: it says in plain words that user or password is wrong, so the
    client may know.
    """

    outcome = "backend_refused"

    def __init__(
        self,
        private: str,
        *,
        step: str,
        reply: tuple[bytes, ...],
        credentials: bool = False,
        temporary: bool = False,
        explicit: bool = False,
    ) -> None:
        super().__init__(private, blame="backend", step=step)
        if explicit:
            self.farewell = Farewell.CREDENTIALS
        self.reply = reply
        self.credentials = credentials
        self.temporary = temporary


class ShuttingDown(SessionError):
    """geomail stops, and the session was still logging in."""

    outcome = "shutdown"
    farewell = Farewell.SHUTDOWN


class Kicked(SessionError):
    """An operator ended the session."""

    outcome = "kicked"
    farewell = Farewell.SHUTDOWN


class TlsSettingError(GeomailError):
    """A TLS setting cannot be used: a bad file, a bad value, or one that this Python's OpenSSL cannot apply.

    ``directive`` is nginx's name of the option; ``text`` says what is wrong with
    it. Neither holds characters that control a terminal.
    """

    def __init__(self, directive: str, text: str) -> None:
        super().__init__(f"{directive}: {text}")
        self.directive = directive
        self.text = text


@dataclass(frozen=True, slots=True)
class Problem:
    """A fact about the configuration that the operator should know.

    ``line`` is 0 if it is about the file as a whole. ``key`` is the path of the
    key in the file (``mail.server[0].listen``), empty if there is none. ``text``
    holds no secret, and no characters that control a terminal.
    """

    file: str
    line: int
    key: str
    text: str
    severity: Literal["error", "warning"] = "error"

    @property
    def place(self) -> str:
        """The file, and the line if there is one."""
        return f"{self.file}:{self.line}" if self.line else self.file

    def __str__(self) -> str:
        return (
            f"{self.place}: {self.severity}: {self.key}: {self.text}"
            if self.key
            else f"{self.place}: {self.severity}: {self.text}"
        )


class ConfigError(GeomailError):
    """A configuration cannot be used; ``problems`` holds all problems that were found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
