"""Password hashes, in the forms of Dovecot and crypt(3): recognised, verified, made.

argon2-cffi, bcrypt, the C library's crypt(3) and libpass (the maintained passlib)
do the work. Verifying and making are slow on purpose: never do them in a greenlet.
The first three let other threads run meanwhile. libpass is Python, and does what
crypt(3) cannot (see :func:`holds_interpreter`).
"""

from __future__ import annotations

import binascii
import hmac
import re
import sys
from typing import Any, NamedTuple, Protocol

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError, VerifyMismatchError
from passlib.hash import ldap_salted_sha1, ldap_salted_sha256, ldap_salted_sha512, sha256_crypt, sha512_crypt

from geomail.errors import GeomailError
from geomail.hashes import libcrypt

#: Bytes of a password that bcrypt reads; it ignores the rest.
BCRYPT_LENGTH = 72
#: The cost of a new hash: OWASP's minimum for argon2id, as mail clients log in all day long.
_NEW_ARGON2ID = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_NEW_BCRYPT_COST = 12
_NEW_SHA512_ROUNDS = 100_000

_PREFIXED = re.compile(r"\{([A-Za-z0-9.-]+)\}(.*)", re.DOTALL)
_ARGON2ID = re.compile(
    r"(\$argon2id\$v=19\$m=\d{1,10},t=\d{1,10},p=\d{1,8})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)", re.ASCII
)
_ARGON2ID_COSTS = re.compile(r"[mt]=(\d+)", re.ASCII)
# The last letters of salt and hash carry two and four bits that are zero.
_BCRYPT = re.compile(
    r"\$2[aby]\$(0[4-9]|[12]\d|3[01])\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{30}[.CGKOSWaeimquy26]", re.ASCII
)


class UnknownHash(GeomailError):
    """A text is not a password hash that geomail can verify. The message shows only its scheme."""


class CannotVerify(GeomailError):
    """A hash could not be verified now: it needs more memory than there is."""


class Hash(NamedTuple):
    """A password hash: Dovecot's name of its scheme, and the hash itself.

    Hashes with the same ``cost`` take equally long to verify.
    """

    scheme: str
    text: str
    cost: str

    def __repr__(self) -> str:
        """Leave out the hash: it helps an attacker guess the password."""
        return f"Hash({self.scheme!r})"


class _Scheme(Protocol):
    """A kind of hash.

    ``read_cost`` returns None if the text is not a hash of this kind. ``weigh`` returns
    a larger number for a cost that takes longer to verify.
    """

    def read_cost(self, text: str) -> str | None: ...

    def weigh(self, cost: str) -> int: ...

    def verify(self, text: str, password: bytes) -> bool: ...


class _Argon2id:
    """The scheme ARGON2ID, by argon2-cffi."""

    def read_cost(self, text: str) -> str | None:
        match = _ARGON2ID.fullmatch(text)
        sound = match is not None and _is_base64(match[2], 8) and _is_base64(match[3], 12)
        return match[1] if match and sound else None

    def weigh(self, cost: str) -> int:
        memory, passes = (int(number) for number in _ARGON2ID_COSTS.findall(cost))
        return memory * passes

    def verify(self, text: str, password: bytes) -> bool:
        try:
            return _NEW_ARGON2ID.verify(text, password)
        except VerifyMismatchError:
            return False
        except VerificationError as error:
            raise CannotVerify(f"argon2id: {error}") from None


class _Bcrypt:
    """The scheme BLF-CRYPT, by bcrypt; 2a, 2b and 2y are the same."""

    def read_cost(self, text: str) -> str | None:
        match = _BCRYPT.fullmatch(text)
        return match[1] if match else None

    def weigh(self, cost: str) -> int:
        return int(cost)

    def verify(self, text: str, password: bytes) -> bool:
        # A longer password is always wrong, but must not be refused faster than any other wrong one.
        matches = bcrypt.checkpw(password[:BCRYPT_LENGTH], text.encode())
        return matches and len(password) <= BCRYPT_LENGTH


class _Passlib:
    """A scheme of libpass; ``prefix`` is the text that it expects before the hash."""

    def __init__(self, handler: Any, prefix: str = "") -> None:
        self._handler = handler
        self._prefix = prefix

    def read_cost(self, text: str) -> str | None:
        try:
            return str(getattr(self._handler.from_string(self._prefix + text), "rounds", ""))
        except ValueError:
            return None

    def weigh(self, cost: str) -> int:
        return int(cost or 0)

    def verify(self, text: str, password: bytes) -> bool:
        try:
            return bool(self._handler.verify(password, self._prefix + text))
        except ValueError:
            return False  # the password is too long for libpass


class _ShaCrypt(_Passlib):
    """A scheme of libpass that crypt(3) knows, too."""

    def verify(self, text: str, password: bytes) -> bool:
        made = libcrypt.crypt(password, text.encode())
        return super().verify(text, password) if made is None else hmac.compare_digest(made, text.encode())


#: The schemes of crypt(3): a hash begins with ``$`` and the name of its scheme.
_CRYPT: dict[str, _Scheme] = {
    "ARGON2ID": _Argon2id(),
    "BLF-CRYPT": _Bcrypt(),
    "SHA512-CRYPT": _ShaCrypt(sha512_crypt),
    "SHA256-CRYPT": _ShaCrypt(sha256_crypt),
}
_SCHEMES: dict[str, _Scheme] = {
    **_CRYPT,
    "SSHA": _Passlib(ldap_salted_sha1, "{SSHA}"),
    "SSHA256": _Passlib(ldap_salted_sha256, "{SSHA256}"),
    "SSHA512": _Passlib(ldap_salted_sha512, "{SSHA512}"),
}


def recognise(text: str) -> Hash:
    """Read a hash in the form ``{SCHEME}hash``, ``{CRYPT}$6$…`` or ``$6$…``. Raises UnknownHash."""
    prefixed = _PREFIXED.fullmatch(text)
    name, rest = (prefixed[1].upper(), prefixed[2]) if prefixed else ("CRYPT", text)
    if name not in _SCHEMES and name != "CRYPT":
        known = ", ".join((*_SCHEMES, "CRYPT"))
        raise UnknownHash(f"{{{name}}} is not a scheme that geomail can verify; use one of {known}")
    for scheme in _CRYPT if name == "CRYPT" else (name,):
        cost = _SCHEMES[scheme].read_cost(rest)
        if cost is not None:
            return Hash(scheme, rest, sys.intern(cost))
    if prefixed:
        raise UnknownHash(f"the text after {{{name}}} is not a complete hash of that scheme")
    raise UnknownHash(
        "this is not a password hash that geomail can verify, or not a complete one; "
        "make one with geomail hash-password"
    )


def verify(known: Hash, password: bytes) -> bool:
    """Tell whether the hash belongs to the password. Raises CannotVerify."""
    return _SCHEMES[known.scheme].verify(known.text, password)


def holds_interpreter(known: Hash, password: bytes) -> bool:
    """Tell whether verifying holds the interpreter for long.

    A thread that does it gives way every ``sys.getswitchinterval()`` (5 ms) to a
    thread that waits, which may be doing the same. So let one thread at a time do it.
    """
    return isinstance(_SCHEMES[known.scheme], _ShaCrypt) and not libcrypt.can_hash(password)


def grows_with_length(known: Hash) -> bool:
    """Tell whether a longer password takes longer to verify."""
    return isinstance(_SCHEMES[known.scheme], _Passlib)


def weigh(known: Hash) -> int:
    """Return a number that is larger if the hash takes longer to verify; compare it only within a scheme."""
    return _SCHEMES[known.scheme].weigh(known.cost)


def make_argon2id(password: bytes) -> str:
    """Make a hash, ``{ARGON2ID}…``."""
    return "{ARGON2ID}" + _NEW_ARGON2ID.hash(password)


def make_bcrypt(password: bytes) -> str:
    """Make a hash, ``{BLF-CRYPT}…``. The password must have at most BCRYPT_LENGTH bytes."""
    return "{BLF-CRYPT}" + bcrypt.hashpw(password, bcrypt.gensalt(_NEW_BCRYPT_COST)).decode()


def make_sha512_crypt(password: bytes) -> str:
    """Make a hash, ``{SHA512-CRYPT}…``."""
    return f"{{SHA512-CRYPT}}{sha512_crypt.using(rounds=_NEW_SHA512_ROUNDS).hash(password)}"


def _is_base64(text: str, least: int) -> bool:
    """Tell whether the text is canonical base64 without padding, of ``least`` bytes or more."""
    try:
        data = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except binascii.Error:
        return False
    return len(data) >= least and binascii.b2a_base64(data, newline=False).rstrip(b"=") == text.encode()
