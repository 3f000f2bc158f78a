"""SASL mechanisms (RFC 4422), shared by the three protocols.

A mechanism is one function: it may ask the client for responses. It returns
credentials or raises :class:`BadExchange`. No digest is verified here; it goes to
the auth source, together with its salt.
"""

from __future__ import annotations

import binascii
import secrets
from collections.abc import Callable, Collection, Sequence

from geomail.conversation import CR, LF, NUL, SECRET
from geomail.errors import GeomailError
from geomail.parties import Asserted, Credentials, Digest, Password

#: Sends a challenge (in base64) in the form of the protocol; returns the first word of the client's answer.
Ask = Callable[[bytes], bytes]

_EMPTY = b""
_USERNAME = b"VXNlcm5hbWU6"
_PASSWORD = b"UGFzc3dvcmQ6"
_DIGEST_SIZE = 32
_PADDING = (b"", None, b"==", b"=")


class BadExchange(GeomailError):
    """An exchange that gives no credentials; the client gets the reply to an invalid command.

    ``counted``: the line itself was broken, so it counts for ``max_errors``.
    """

    def __init__(self, private: str, *, counted: bool = False) -> None:
        super().__init__(private)
        self.counted = counted


class CancelledExchange(BadExchange):
    """An exchange that the client has cancelled."""


class NoSuchMechanism(BadExchange):
    """A mechanism that is unknown or not enabled; the client may try another one."""


def decode(text: bytes) -> bytes:
    """Decode base64 as leniently as nginx: the first ``=`` ends it, and padding is optional."""
    digits = text.partition(b"=")[0]
    padding = _PADDING[len(digits) % 4]
    if padding is None:
        raise BadExchange("base64 of an impossible length")
    try:
        return binascii.a2b_base64(digits + padding, strict_mode=True)
    except binascii.Error:
        raise BadExchange("not base64") from None


def encode(data: bytes) -> bytes:
    """Encode in base64, without a line end."""
    return binascii.b2a_base64(data, newline=False)


def make_salt(server_name: bytes) -> bytes:
    """Return a new challenge: ``<random.random@server_name>``, in the form of RFC 1939."""
    return b"<%d.%d@%b>" % (secrets.randbits(31), secrets.randbits(63), server_name)


def require_clean(credentials: Credentials) -> Credentials:
    """Return the credentials; raises BadExchange if they hold CR, LF or NUL.

    A backend would read the rest as a second command or a second field.
    """
    given = credentials.user + credentials.secret
    if LF in given or CR in given or NUL in given:
        raise BadExchange("CR, LF or NUL in the credentials")
    return credentials


class Exchange:
    """The means of a mechanism: a way to ask the client, and the server's name."""

    __slots__ = ("ask", "server_name")

    def __init__(self, ask: Ask, server_name: bytes) -> None:
        self.ask = ask
        self.server_name = server_name


#: The second argument is the initial response, still encoded, or None.
Mechanism = Callable[[Exchange, bytes | None], Credentials]


def run_plain(exchange: Exchange, initial: bytes | None) -> Credentials:
    """Run PLAIN (RFC 4616); the authorization identity is ignored, as in nginx."""
    response = decode(exchange.ask(_EMPTY) if initial is None else initial)
    user, separator, password = response.partition(b"\0")[2].partition(b"\0")
    if not separator:
        raise BadExchange("PLAIN without both of its NULs")
    return Password(user, password)


def run_login(exchange: Exchange, initial: bytes | None) -> Credentials:
    """Run LOGIN (draft-murchison-sasl-login)."""
    user = decode(exchange.ask(_USERNAME) if initial is None else initial)
    return Password(user, decode(exchange.ask(_PASSWORD)))


def run_cram_md5(exchange: Exchange, initial: bytes | None) -> Credentials:
    """Run CRAM-MD5 (RFC 2195), with a new challenge for each exchange."""
    if initial is not None:
        raise BadExchange("CRAM-MD5 takes no initial response")
    salt = make_salt(exchange.server_name)
    user, separator, digest = decode(exchange.ask(encode(salt))).partition(b" ")
    if not separator or len(digest) != _DIGEST_SIZE:
        raise BadExchange("not a CRAM-MD5 response")
    return Digest(user, digest, salt, "cram-md5")


def run_external(exchange: Exchange, initial: bytes | None) -> Credentials:
    """Run EXTERNAL (RFC 4422, appendix A); the auth source judges whether the client may be this user."""
    return Asserted(decode(exchange.ask(_USERNAME) if initial is None else initial))


def take_apop(user: bytes, digest: bytes, salt: bytes) -> Credentials:
    """Make credentials of POP3's APOP (RFC 1939): not SASL, but a digest over the greeting's salt."""
    return Digest(user, digest, salt, "apop")


MECHANISMS: dict[bytes, Mechanism] = {
    b"PLAIN": run_plain,
    b"LOGIN": run_login,
    b"CRAM-MD5": run_cram_md5,
    b"EXTERNAL": run_external,
}
#: Accepted even if they are not advertised, as in nginx.
_ALWAYS_ACCEPTED = (b"PLAIN", b"LOGIN")


def list_names(enabled: Collection[str]) -> tuple[bytes, ...]:
    """List the mechanisms that ``smtp_auth`` or its like enables, in the order of advertisement."""
    return tuple(name for name in MECHANISMS if name.decode().lower() in enabled)


def select_mechanisms(enabled: Collection[str]) -> dict[bytes, Mechanism]:
    """Return the mechanisms that a server with these methods accepts, by name."""
    names = {*list_names(enabled), *_ALWAYS_ACCEPTED}
    return {name: run for name, run in MECHANISMS.items() if name in names}


def authenticate(
    arguments: Sequence[bytes], mechanisms: dict[bytes, Mechanism], exchange: Exchange
) -> Credentials:
    """Run the exchange of ``AUTH mechanism [initial response]``, and return the credentials.

    ``arguments`` must not be empty. Raises BadExchange; its subclasses CancelledExchange
    and NoSuchMechanism have their own answers.
    """
    mechanism = mechanisms.get(arguments[0].upper())
    if mechanism is None:
        raise NoSuchMechanism("no such mechanism")
    if len(arguments) > 2:
        raise BadExchange("too many arguments")
    return require_clean(mechanism(exchange, arguments[1] if len(arguments) == 2 else None))


def mask_auth(words: Sequence[bytes]) -> bytes:
    """Return an AUTH command without its secrets; ``words`` begins with the verb."""
    if len(words) == 1:
        return words[0]
    mechanism = words[1] if words[1].upper() in MECHANISMS else SECRET
    return b" ".join((words[0], mechanism, *([SECRET] if len(words) > 2 else ())))
