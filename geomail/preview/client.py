"""Imagine a client: the server that it connects to, its address, and its login."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from geomail.config.address import is_literal, normalize_address, parse_address
from geomail.config.listen import Listen, parse_listen
from geomail.errors import GeomailError
from geomail.net.resolver import normalise_host
from geomail.parties import (
    TEMPUNAVAIL,
    UNAVAILABLE,
    Asserted,
    Client,
    ClientCertificate,
    Credentials,
    Digest,
    Login,
    Method,
    NoLogin,
    Password,
    Token,
)
from geomail.protocols import sasl
from geomail.protocols.smtp.frontend import read_name

if TYPE_CHECKING:
    from geomail.config.schema import Config, Server

#: The placeholder for the client's address, in the family of the server's (RFC 5737, RFC 3849).
CLIENT_V4, CLIENT_V6, CLIENT_PORT = "192.0.2.1", "2001:db8::1", 50000
#: The placeholder for the address that a client connects to, if the server listens on all addresses.
LOCAL_V4, LOCAL_V6 = "192.0.2.2", "2001:db8::2"
USER, PASSWORD = "user@example.org", b"password"
TLS = ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
#: The id of the session.
SESSION = b"0123456789-1"
#: The tag of an IMAP client's LOGIN.
TAG = b"a1"

_HOST_NAME = re.compile(rb"[a-z0-9.-]+")


class Unusable(GeomailError):
    """A request that geomail cannot fulfil; the text says why, and what to give instead."""


@dataclass(frozen=True)
class Words:
    """The words of an imagined client.

    ``hello`` is the name in its EHLO (HELO if not ``esmtp``): empty if it says
    neither, None for its address. ``user`` and ``password`` belong to a login,
    ``sender`` and ``recipient`` to a mail without a login; None: a placeholder.
    """

    hello: str | None = None
    esmtp: bool = True
    user: str | None = None
    password: bytes | None = field(default=None, repr=False)
    sender: str | None = None
    recipient: str | None = None


# -- the server -----------------------------------------------------------------------------------


def find_server(config: Config, protocol: str | None, given: str | None) -> tuple[Server, Sequence[Listen]]:
    """Return the server of this name or address, and those of its addresses that match.

    Without ``given`` there must be only one server of the protocol. Without
    ``protocol``, a server of SMTP is chosen first: the handshakes of the other
    protocols depend on nothing that a backend offers. Raises Unusable.
    """
    servers = [server for server in config.servers if protocol in (None, server.protocol)]
    if given is not None:
        found = [(server, listens) for server in servers if (listens := _find_listens(server, given))]
        return _choose_only(found, f"no {_kind(protocol)}server has the name or address {given}", servers)
    if protocol is None:
        servers = [server for server in servers if server.facts.offers] or servers
    return _choose_only(
        [(server, server.listen) for server in servers], f"there is no {_kind(protocol)}server", ()
    )


def _kind(protocol: str | None) -> str:
    return f"{protocol} " if protocol else ""


def _choose_only(
    found: Sequence[tuple[Server, Sequence[Listen]]], none: str, others: Iterable[Server]
) -> tuple[Server, Sequence[Listen]]:
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{server.name} ({server.protocol})" for server in others or (one for one, _ in found))
    if found:
        raise Unusable(f"several servers are possible: choose one with --server: {names}")
    raise Unusable(f"{none}; the servers are {names}" if names else none)


def _find_listens(server: Server, given: str) -> Sequence[Listen]:
    """Return those addresses of a server that match this name, address or port."""
    if server.name == given:
        return server.listen
    singles = [single for listen in server.listen for single in listen.split_ports()]
    if given.isdecimal():
        return [single for single in singles if not single.path and single.port == int(given)]
    try:
        address = normalize_address(parse_listen(given))
    except ValueError:
        return ()
    return [single for single in singles if normalize_address(single) == address]


# -- where the client comes from ------------------------------------------------------------------


def make_client(server: Server, listens: Sequence[Listen], given: str | None, name: str | None) -> Client:
    """Return a client at ``IP``, ``IP:port``, ``[v6]:port`` or ``unix:``, on the first address of its family.

    ``name`` is the verified host name of its address. The client uses TLS if
    it must, and shows no certificate. Raises Unusable.
    """
    if given is None:
        given = _choose_client(listens)
    host, port = ("unix:", 0) if given == "unix:" else _parse_client(given)
    listen = next((listen for listen in listens if _family(listen) == _family_of(host)), listens[0])
    if listen.path:
        client = Client("unix:", 0, f"unix:{listen.path}", 0)
    else:
        client = Client(host, port, _choose_local_address(listen.host), listen.port)
    if name is not None:
        client.name = _check_name(name)
    if server.pass_session_id:
        client.session = SESSION
    if listen.ssl or server.starttls == "only":
        client.tls = TLS
        client.certificate = None if server.ssl_verify_client == "off" else ClientCertificate()
    return client


def _choose_client(listens: Sequence[Listen]) -> str:
    families = [_family(listen) for listen in listens]
    usual = {"4": CLIENT_V4, "6": CLIENT_V6, "unix": "unix:"}
    return usual["4" if "4" in families else families[0]]


def _family(listen: Listen) -> str:
    return _family_of("unix:" if listen.path else listen.host)


def _family_of(host: str) -> str:
    return "unix" if host == "unix:" else "6" if ":" in host else "4"


def _parse_client(text: str) -> tuple[str, int]:
    bare_v6 = text.count(":") > 1 and not text.startswith("[")
    try:
        address = parse_address(f"[{text}]" if bare_v6 else text, default_port=CLIENT_PORT)
    except ValueError as error:
        raise Unusable(f"--client {error}") from None
    if not is_literal(address.host):
        raise Unusable(f"--client {text}: must be an IP address, with or without a port")
    return normalise_host(address.host), address.port


def _choose_local_address(host: str) -> str:
    """Return the address that a client connects to; a host name gives a placeholder."""
    return {"0.0.0.0": LOCAL_V4, "::": LOCAL_V6}.get(host, host if is_literal(host) else LOCAL_V4)


def _check_name(text: str) -> bytes:
    name = text.encode()
    if name in (UNAVAILABLE, TEMPUNAVAIL):
        return name
    if not _HOST_NAME.fullmatch(name.lower()):
        raise Unusable(f"--client-name {text}: must be a host name of letters, digits, - and .")
    return name.lower()


# -- what the client says -------------------------------------------------------------------------


def make_login(server: Server, words: Words, client: Client) -> Login:
    """Make the login of a client that says these words to this server. Raises Unusable."""
    if words.sender is not None or words.recipient is not None:
        login = Login(_make_mail(server, words))
    elif words.user is None and server.methods == ("none",):
        raise Unusable("this server takes only mail without a login (smtp_auth): give --from and --to")
    else:
        user = USER if words.user is None else words.user
        password = PASSWORD if words.password is None else words.password
        login = Login(_require_clean(Password(user.encode("utf-8", "surrogateescape"), password)))
    if server.facts.has_tags:
        login.tag = TAG
    if server.facts.names_clients:
        login.helo, login.esmtp = _make_hello(words, client)
    return login


def change_method(server: Server, login: Login, method: Method) -> Login:
    """Return the same login by another method. Raises Unusable."""
    enabled = server.methods
    if method not in enabled:
        raise Unusable(
            f"{server.name} does not take {method} ({server.methods_option}), but {', '.join(enabled)}"
        )
    if isinstance(login.credentials, NoLogin):
        raise Unusable(f"--from and --to are for mail without a login: give --user for a login by {method}")
    salt = sasl.make_salt(server.server_name.encode())
    return replace(login, credentials=make_credentials(method, login.user, login.credentials.secret, salt))


def make_credentials(method: Method, user: bytes, secret: bytes, salt: bytes) -> Credentials:
    """Make credentials as a client does by this method, from its password or token. Raises Unusable."""
    match method:
        case "plain":
            return Password(user, secret)
        case "apop":
            digest = hashlib.md5(salt + secret, usedforsecurity=False).hexdigest()
            return Digest(user, digest.encode(), salt, method)
        case "cram-md5":
            return Digest(user, hmac.new(secret, salt, "md5").hexdigest().encode(), salt, method)
        case "oauthbearer" | "xoauth2":
            return Token(user, secret, method)
        case "external":
            return Asserted(user)
        case "none":
            raise Unusable("a login by none has no user: give --from and --to")


def _make_mail(server: Server, words: Words) -> NoLogin:
    if "none" not in server.facts.methods:
        raise Unusable(f"--from and --to are SMTP's; {server.name} speaks {server.protocol}")
    if words.user is not None:
        raise Unusable(
            "--from and --to are for mail without a login, --user is for a login: give one of both"
        )
    if words.sender is None or words.recipient is None:
        raise Unusable("--from and --to go together")
    if "none" not in server.methods:
        raise Unusable(
            f"{server.name} takes no mail without a login (smtp_auth has no none): give --user, not --from"
        )
    mail, rcpt = _make_command("MAIL FROM:", words.sender), _make_command("RCPT TO:", words.recipient)
    return NoLogin(mail, rcpt)


def _make_command(verb: str, address: str) -> bytes:
    """Make a command; ``address`` may have brackets, and parameters after them."""
    return _check_word(verb + (address if address.startswith("<") else f"<{address}>"), " ")


def _make_hello(words: Words, client: Client) -> tuple[bytes, bool]:
    if words.hello is not None:
        return read_name(b"EHLO " + _check_word(words.hello, " ")), words.esmtp and bool(words.hello)
    if client.address == "unix:":
        return b"localhost", words.esmtp
    prefix = "IPv6:" if ":" in client.address else ""
    return f"[{prefix}{client.address}]".encode(), words.esmtp


def _check_word(text: str, allowed: str = "") -> bytes:
    """Encode one argument of a command. Raises Unusable if a client could not say it."""
    if any(not char.isprintable() or (char.isspace() and char not in allowed) for char in text):
        raise Unusable(f"{text!a} must not hold spaces or control characters")
    return text.encode()


def _require_clean(credentials: Credentials) -> Credentials:
    try:
        return sasl.require_clean(credentials)
    except sasl.BadExchange:
        raise Unusable(
            "user and password must not hold CR, LF or NUL: geomail refuses such a login at once"
        ) from None
