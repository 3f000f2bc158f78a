"""A client that is imagined: which server it comes to, from where, and what it says there."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from geomail.config.address import canonical, is_literal, parse_address
from geomail.config.listen import Listen, parse_listen
from geomail.errors import GeomailError
from geomail.net.resolver import normalise_host
from geomail.parties import TEMPUNAVAIL, UNAVAILABLE, Client, ClientCertificate, Login, Method
from geomail.protocols import sasl
from geomail.protocols.smtp.frontend import as_name

if TYPE_CHECKING:
    from geomail.config.schema import Config, Server

#: Where a client comes from that names no address; by the family of the server's (RFC 5737, RFC 3849).
CLIENT_V4, CLIENT_V6, CLIENT_PORT = "192.0.2.1", "2001:db8::1", 50000
#: What stands for the address that a client connected to, where a server listens on all of them.
LOCAL_V4, LOCAL_V6 = "192.0.2.2", "2001:db8::2"
USER, PASSWORD = "user@example.org", b"password"
TLS = ("TLSv1.3", "TLS_AES_256_GCM_SHA384")
#: The id of the session.
SESSION = b"0123456789-1"
#: The tag of an IMAP client's LOGIN.
TAG = b"a1"

_HOST_NAME = re.compile(rb"[a-z0-9.-]+")


class Unusable(GeomailError):
    """What was asked for cannot be shown; the text says why, and what to give instead."""


@dataclass(frozen=True)
class Words:
    """What an imagined client says.

    ``hello`` is the name in its EHLO (HELO if not ``esmtp``): empty if it says
    neither, None for its address. ``sender`` and ``recipient`` are of a mail
    without a login, ``user`` and ``password`` of a login; None: a placeholder.
    """

    hello: str | None = None
    esmtp: bool = True
    user: str | None = None
    password: bytes | None = field(default=None, repr=False)
    sender: str | None = None
    recipient: str | None = None


# -- the server -----------------------------------------------------------------------------------


def find_server(config: Config, protocol: str | None, wanted: str | None) -> tuple[Server, Sequence[Listen]]:
    """The server that is meant by a name or an address, and the addresses that fit.

    Without ``wanted`` it must be the only one of its protocol; without
    ``protocol`` that is SMTP, if there is such a server. Raises Unusable.
    """
    servers = [server for server in config.servers if protocol in (None, server.protocol)]
    if wanted is not None:
        found = [(server, listens) for server in servers if (listens := _matching(server, wanted))]
        return _only(found, f"no {_kind(protocol)}server is called {wanted} or listens there", servers)
    if protocol is None:
        servers = [server for server in servers if server.protocol == "smtp"] or servers
    return _only([(server, server.listen) for server in servers], f"there is no {_kind(protocol)}server", ())


def _kind(protocol: str | None) -> str:
    return f"{protocol} " if protocol else ""


def _only(
    found: Sequence[tuple[Server, Sequence[Listen]]], none: str, others: Iterable[Server]
) -> tuple[Server, Sequence[Listen]]:
    if len(found) == 1:
        return found[0]
    names = ", ".join(f"{server.name} ({server.protocol})" for server in others or (one for one, _ in found))
    if found:
        raise Unusable(f"say which server by --server: {names}")
    raise Unusable(f"{none}; there are {names}" if names else none)


def _matching(server: Server, wanted: str) -> Sequence[Listen]:
    """The addresses of a server that go by this name, address or port."""
    if server.name == wanted:
        return server.listen
    singles = [single for listen in server.listen for single in listen.each()]
    if wanted.isdecimal():
        return [single for single in singles if not single.path and single.port == int(wanted)]
    try:
        address = canonical(parse_listen(wanted))
    except ValueError:
        return ()
    return [single for single in singles if canonical(single) == address]


# -- where the client comes from ------------------------------------------------------------------


def make_client(server: Server, listens: Sequence[Listen], given: str | None, name: str | None) -> Client:
    """The client at ``IP``, ``IP:port``, ``[v6]:port`` or ``unix:``, at the first address that fits.

    ``name`` is the one its address resolves to, verified. The client has TLS
    where it must, and shows no certificate. Raises Unusable.
    """
    if given is None:
        given = _usual_client(listens)
    host, port = ("unix:", 0) if given == "unix:" else _client_address(given)
    listen = next((listen for listen in listens if _family(listen) == _family_of(host)), listens[0])
    if listen.path:
        client = Client("unix:", 0, f"unix:{listen.path}", 0)
    else:
        client = Client(host, port, _reached(listen.host), listen.port)
    if name is not None:
        client.name = _verified_name(name)
    if server.pass_session_id:
        client.session = SESSION
    if listen.ssl or server.starttls == "only":
        client.tls = TLS
        client.certificate = None if server.ssl_verify_client == "off" else ClientCertificate()
    return client


def _usual_client(listens: Sequence[Listen]) -> str:
    families = [_family(listen) for listen in listens]
    usual = {"4": CLIENT_V4, "6": CLIENT_V6, "unix": "unix:"}
    return usual["4" if "4" in families else families[0]]


def _family(listen: Listen) -> str:
    return _family_of("unix:" if listen.path else listen.host)


def _family_of(host: str) -> str:
    return "unix" if host == "unix:" else "6" if ":" in host else "4"


def _client_address(text: str) -> tuple[str, int]:
    bare_v6 = text.count(":") > 1 and not text.startswith("[")
    try:
        address = parse_address(f"[{text}]" if bare_v6 else text, default_port=CLIENT_PORT)
    except ValueError as error:
        raise Unusable(f"--client {error}") from None
    if not is_literal(address.host):
        raise Unusable(f"--client {text}: an IP address is wanted, with or without a port")
    return normalise_host(address.host), address.port


def _reached(host: str) -> str:
    """The address that a client has connected to; a name is not resolved."""
    return {"0.0.0.0": LOCAL_V4, "::": LOCAL_V6}.get(host, host if is_literal(host) else LOCAL_V4)


def _verified_name(text: str) -> bytes:
    name = text.encode()
    if name in (UNAVAILABLE, TEMPUNAVAIL):
        return name
    if not _HOST_NAME.fullmatch(name.lower()):
        raise Unusable(f"--client-name {text}: a host name of letters, digits, - and . is wanted")
    return name.lower()


# -- what the client says -------------------------------------------------------------------------


def make_login(server: Server, words: Words, client: Client) -> Login:
    """What the client's words make of a login to this server. Raises Unusable."""
    if words.sender is not None or words.recipient is not None:
        login = _without_login(server, words)
    elif words.user is None and server.protocol == "smtp" and server.smtp_auth == ("none",):
        raise Unusable("this server takes mail without login only (smtp_auth): give --from and --to")
    else:
        user = USER if words.user is None else words.user
        password = PASSWORD if words.password is None else words.password
        login = _sound(Login("plain", user.encode("utf-8", "surrogateescape"), password))
    if server.protocol == "imap":
        login.tag = TAG
    if server.protocol == "smtp":
        login.helo, login.esmtp = _hello(words, client)
    return login


def by_method(server: Server, login: Login, method: Method) -> Login:
    """The login by another method, with the digest that a client makes. Raises Unusable."""
    enabled = getattr(server, f"{server.protocol}_auth")
    if method not in enabled:
        raise Unusable(f"{server.name} takes no {method} ({server.protocol}_auth), but {', '.join(enabled)}")
    if method == "none":
        raise Unusable("a login by none has no user: give --from and --to")
    if method == "external":
        return replace(login, method=method, password=b"")
    if method == "plain":
        return login
    salt = sasl.fresh_salt(server.server_name.encode())
    if method == "apop":
        digest = hashlib.md5(salt + login.password, usedforsecurity=False).hexdigest()
    else:
        digest = hmac.new(login.password, salt, "md5").hexdigest()
    return replace(login, method=method, password=digest.encode(), salt=salt)


def _without_login(server: Server, words: Words) -> Login:
    if server.protocol != "smtp":
        raise Unusable(f"--from and --to are SMTP's; {server.name} speaks {server.protocol}")
    if words.user is not None:
        raise Unusable("--from and --to are for mail without a login: behind a login, the client says MAIL")
    if words.sender is None or words.recipient is None:
        raise Unusable("--from and --to go together")
    if "none" not in server.smtp_auth:
        raise Unusable(
            f"{server.name} takes no mail without a login (smtp_auth has no none): give --user, not --from"
        )
    mail, rcpt = _command("MAIL FROM:", words.sender), _command("RCPT TO:", words.recipient)
    return Login("none", mail=mail, rcpt=rcpt)


def _command(verb: str, address: str) -> bytes:
    """``address`` may stand in its brackets, and parameters behind it."""
    return _word(verb + (address if address.startswith("<") else f"<{address}>"), " ")


def _hello(words: Words, client: Client) -> tuple[bytes, bool]:
    if words.hello is not None:
        return as_name(b"EHLO " + _word(words.hello, " ")), words.esmtp and bool(words.hello)
    if client.address == "unix:":
        return b"localhost", words.esmtp
    prefix = "IPv6:" if ":" in client.address else ""
    return f"[{prefix}{client.address}]".encode(), words.esmtp


def _word(text: str, allowed: str = "") -> bytes:
    """Text as one argument; raises Unusable if it holds what a client cannot say there."""
    if any(not char.isprintable() or (char.isspace() and char not in allowed) for char in text):
        raise Unusable(f"{text!a}: a space or control character has no place in it")
    return text.encode()


def _sound(login: Login) -> Login:
    try:
        return sasl.clean(login)
    except sasl.Malformed:
        raise Unusable("a user or password with CR, LF or NUL is refused before anybody is asked") from None
