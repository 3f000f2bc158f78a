"""SASL mechanisms (RFC 4422), shared by the three protocols.

A mechanism is one function: it may ask the client for responses, and returns
the Login or raises :class:`Malformed`. Hashes are never verified here; they
go to the auth source with the salt they were made with.
"""

from __future__ import annotations

import binascii
import secrets
from collections.abc import Callable, Collection, Sequence

from geomail.conversation import CR, LF, NUL, SECRET
from geomail.errors import GeomailError
from geomail.parties import Asserted, Credentials, Digest, Password

#: Sends a challenge (in base64) in the protocol's frame; returns the first word of the answer.
Ask = Callable[[bytes], bytes]

_EMPTY = b""
_USERNAME = b"VXNlcm5hbWU6"
_PASSWORD = b"UGFzc3dvcmQ6"
_DIGEST_SIZE = 32
_PADDING = (b"", None, b"==", b"=")


class Malformed(GeomailError):
    """A client's exchange leads to no login: it gets the invalid-command reply.

    ``counted``: the line itself was broken, which ``max_errors`` counts.
    """

    def __init__(self, private: str, *, counted: bool = False) -> None:
        super().__init__(private)
        self.counted = counted


class Cancelled(Malformed):
    """A client has cancelled its exchange."""


class NoSuchMechanism(Malformed):
    """A client asks for a mechanism that is unknown, or not enabled: it may try another one."""


def decode(text: bytes) -> bytes:
    """Decode base64 as leniently as nginx: the first ``=`` ends it, padding is optional."""
    digits = text.partition(b"=")[0]
    padding = _PADDING[len(digits) % 4]
    if padding is None:
        raise Malformed("base64 of an impossible length")
    try:
        return binascii.a2b_base64(digits + padding, strict_mode=True)
    except binascii.Error:
        raise Malformed("not base64") from None


def encode(data: bytes) -> bytes:
    """Base64 without a line end."""
    return binascii.b2a_base64(data, newline=False)


def make_salt(server_name: bytes) -> bytes:
    """A challenge that was never given before: ``<random.random@server_name>``, as RFC 1939 shapes it."""
    return b"<%d.%d@%b>" % (secrets.randbits(31), secrets.randbits(63), server_name)


def require_clean(credentials: Credentials) -> Credentials:
    """Return the credentials; raises Malformed if they hold CR, LF or NUL.

    A backend would take what follows as a second command, or a second field.
    """
    given = credentials.user + credentials.secret
    if LF in given or CR in given or NUL in given:
        raise Malformed("CR, LF or NUL in the credentials")
    return credentials


class Exchange:
    """What a mechanism has to work with."""

    __slots__ = ("ask", "server_name")

    def __init__(self, ask: Ask, server_name: bytes) -> None:
        self.ask = ask
        self.server_name = server_name


#: Takes the initial response, still encoded, or None.
Mechanism = Callable[[Exchange, bytes | None], Credentials]


def plain(exchange: Exchange, initial: bytes | None) -> Credentials:
    """PLAIN (RFC 4616); the authorization identity is ignored, as in nginx."""
    response = decode(exchange.ask(_EMPTY) if initial is None else initial)
    user, separator, password = response.partition(b"\0")[2].partition(b"\0")
    if not separator:
        raise Malformed("PLAIN without both of its NULs")
    return Password(user, password)


def login(exchange: Exchange, initial: bytes | None) -> Credentials:
    """LOGIN (draft-murchison-sasl-login)."""
    user = decode(exchange.ask(_USERNAME) if initial is None else initial)
    return Password(user, decode(exchange.ask(_PASSWORD)))


def cram_md5(exchange: Exchange, initial: bytes | None) -> Credentials:
    """CRAM-MD5 (RFC 2195), with a new challenge for each exchange."""
    if initial is not None:
        raise Malformed("CRAM-MD5 takes no initial response")
    salt = make_salt(exchange.server_name)
    user, separator, digest = decode(exchange.ask(encode(salt))).partition(b" ")
    if not separator or len(digest) != _DIGEST_SIZE:
        raise Malformed("not a CRAM-MD5 response")
    return Digest(user, digest, salt, "cram-md5")


def external(exchange: Exchange, initial: bytes | None) -> Credentials:
    """EXTERNAL (RFC 4422, appendix A); who that may be is for the auth source to judge."""
    return Asserted(decode(exchange.ask(_USERNAME) if initial is None else initial))


def apop(user: bytes, digest: bytes, salt: bytes) -> Credentials:
    """POP3's APOP (RFC 1939): no SASL, but a digest over the greeting's salt."""
    return Digest(user, digest, salt, "apop")


MECHANISMS: dict[bytes, Mechanism] = {
    b"PLAIN": plain,
    b"LOGIN": login,
    b"CRAM-MD5": cram_md5,
    b"EXTERNAL": external,
}
#: Accepted even where they are not advertised, as in nginx.
_UNGATED = (b"PLAIN", b"LOGIN")


def list_names(enabled: Collection[str]) -> tuple[bytes, ...]:
    """The names of the mechanisms that a method list enables, in the order they are advertised."""
    return tuple(name for name in MECHANISMS if name.decode().lower() in enabled)


def select_mechanisms(enabled: Collection[str]) -> dict[bytes, Mechanism]:
    """The mechanisms that a server with this method list takes."""
    names = {*list_names(enabled), *_UNGATED}
    return {name: run for name, run in MECHANISMS.items() if name in names}


def authenticate(
    arguments: Sequence[bytes], mechanisms: dict[bytes, Mechanism], exchange: Exchange
) -> Credentials:
    """Run the exchange that ``AUTH mechanism [initial response]`` asks for; ``arguments`` is not empty.

    Raises Malformed, of which Cancelled and NoSuchMechanism have answers of their own.
    """
    mechanism = mechanisms.get(arguments[0].upper())
    if mechanism is None:
        raise NoSuchMechanism("no such mechanism")
    if len(arguments) > 2:
        raise Malformed("too many arguments")
    return require_clean(mechanism(exchange, arguments[1] if len(arguments) == 2 else None))


def mask_auth(words: Sequence[bytes]) -> bytes:
    """``AUTH mechanism`` as it may be shown: ``words`` from the verb on, without their secrets."""
    if len(words) == 1:
        return words[0]
    mechanism = words[1] if words[1].upper() in MECHANISMS else SECRET
    return b" ".join((words[0], mechanism, *([SECRET] if len(words) > 2 else ())))
