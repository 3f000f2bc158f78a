"""``auth_http``: ask an HTTP service about each login, with nginx's headers in nginx's order.

geomail adds kept-alive connections, https, ``Auth-Backend`` (the name of a
configured backend, in place of Auth-Server and Auth-Port), host names in
Auth-Server, and limits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from socket import AF_UNIX
from typing import TYPE_CHECKING

from gevent import sleep

from geomail.auth.base import Accepted, Refused, Source, Verdict
from geomail.auth.cache import AnswerCache, Kept
from geomail.backends.routes import AddressRoute, NamedRoute
from geomail.conversation import CR, LF, NUL
from geomail.errors import AuthUnavailable, PeerGone, TlsFailed
from geomail.net.http import Answer, BadAnswer, HttpClient
from geomail.net.resolver import get_ip_family, normalise_host
from geomail.net.tls import TlsSide
from geomail.parties import Asserted, Digest, NoLogin, Password, Refusal, Token
from geomail.protocols.facts import FACTS

if TYPE_CHECKING:
    from geomail.auth.services import AuthServices
    from geomail.backends import Backends, Route
    from geomail.config.schema import AuthHttp, Server
    from geomail.net.client_contexts import ContextMaker
    from geomail.net.resolver import Resolver
    from geomail.parties import Client, ClientCertificate, Credentials, Login, ProxyAddresses

#: Bytes of a refusal's text: an SMTP reply line has 512, its code and line end included.
LONGEST_TEXT = 480
#: The most seconds that ``Auth-Wait`` may ask for.
LONGEST_WAIT = 3600.0
#: While the service answers WAIT: the fewest seconds between two questions, and the most of these answers.
SHORTEST_WAIT = 1.0
MOST_WAITS = 20

_UNSAFE = bytes(range(0x21)) + b"%"
_ESCAPES = [b"%%%02X" % code if code in _UNSAFE else bytes((code,)) for code in range(256)]
_unsafe = re.compile(rb"[\0-\x20%]").search
_CONTROLS = bytes.maketrans(bytes((*range(0x09), *range(0x0A, 0x20), 0x7F)), b" " * 32)
REPLY_CODE = re.compile(rb"[45]\d\d( [245]\.\d{1,3}\.\d{1,3})?")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_HOST_NAME_LENGTH = 253
#: Routes that are kept: an answer's address and port, read once.
_MOST_ROUTES = 4096


class HttpSource(Source):
    """The auth source that asks a server's ``auth_http`` service about each login."""

    def __init__(
        self, server: Server, backends: Backends, resolver: Resolver, services: AuthServices
    ) -> None:
        url = server.auth_http
        assert url is not None, "auth = http without auth_http"
        self._routes: dict[tuple[bytes, bytes], Route] = {}
        self._backends = backends
        self._only_configured = server.auth_http_backends == "configured"
        self._name = f"auth http server {f'unix:{url.path}' if url.path else _authority(url, url.port)}"
        self._first_lines = (
            f"GET {url.target} HTTP/1.1".encode(),
            f"Host: {'localhost' if url.path else _authority(url)}".encode(),
            *(() if server.auth_http_keepalive else (b"Connection: close",)),
        )
        self._cache = AnswerCache(server.auth_http_cache) if server.auth_http_cache else None
        self._shows_certificate = server.auth_http_pass_client_cert
        headers = [f"{name}: {value}".encode() for name, value in server.auth_http_header]
        self._last_lines = (*headers, b"", b"")
        self.client = self._make_client(server, url, services, resolver)

    def _make_client(
        self, server: Server, url: AuthHttp, services: AuthServices, resolver: Resolver
    ) -> HttpClient:
        seconds, most = server.auth_http_timeout, server.auth_http_connections
        resolve = resolver.find_addresses
        return HttpClient(
            pool=services.get_pool(server, self._name),
            addresses=lambda: [(AF_UNIX, url.path)] if url.path else resolve(url.host, url.port),
            tls=make_tls_side(url, server.auth_http_ca, services.contexts),
            peer="auth",
            seconds=seconds,
            timed_out=f"{self._name} timed out ({seconds:g} s, auth_http_timeout)",
            crowded=f"{self._name} answered on none of {most} connections (auth_http_connections)"
            f" in {seconds:g} s (auth_http_timeout)",
            keeps=server.auth_http_keepalive,
        )

    def check(self, login: Login, client: Client, protocol: str, attempt: int) -> Verdict:
        if self._cache is None or not _may_come_again(login.credentials):
            return self._ask_until_verdict(login, client, protocol, attempt)[0]
        key = self._key(self._cache, login, client, protocol)
        kept = self._cache.get(key)
        if kept is not None:
            user = login.user if kept.user is None else kept.user
            return Accepted(kept.route, user, login.password if kept.password is None else kept.password)
        verdict, answer = self._ask_until_verdict(login, client, protocol, attempt)
        if isinstance(verdict, Accepted):
            replaced = answer.last(b"auth-user"), answer.last(b"auth-pass")
            self._cache.put(key, Kept(verdict.route, *replaced))
        return verdict

    def note_backend_refusal(self, login: Login, client: Client, protocol: str) -> None:
        if self._cache is not None and _may_come_again(login.credentials):
            self._cache.drop(self._key(self._cache, login, client, protocol))

    def _key(self, cache: AnswerCache, login: Login, client: Client, protocol: str) -> bytes:
        """Return the key of a question, without the parts that differ between two attempts of one client."""
        proxy = None if client.proxy is None else replace(client.proxy, source_port=0)
        return cache.key(self.make_question(login, replace(client, proxy=proxy, session=b""), protocol, 0))

    def _ask_until_verdict(
        self, login: Login, client: Client, protocol: str, attempt: int
    ) -> tuple[Verdict, Answer]:
        request = self.make_question(login, client, protocol, attempt)
        for _ in range(1 + MOST_WAITS):
            answer = self.ask(request)
            verdict = self.read_verdict(answer, login, protocol)
            if verdict is not None:
                return verdict, answer
            sleep(max(read_wait(answer), SHORTEST_WAIT))
        raise AuthUnavailable(f"{self._name} answered WAIT {1 + MOST_WAITS} times to one login")

    def close(self) -> None:
        self.client.close()
        if self._cache is not None:
            self._cache.close()

    # -- the question -----------------------------------------------------------------------------

    def make_question(self, login: Login, client: Client, protocol: str, attempt: int) -> bytes:
        """Make the whole request about a login. Raises AuthUnavailable if a value must not be sent."""
        lines = [
            *self._first_lines,
            *_credential_lines(login.credentials),
            b"Auth-Protocol: " + protocol.encode(),
            b"Auth-Login-Attempt: %d" % attempt,
            b"Client-IP: " + client.address.encode(),
        ]
        if FACTS[protocol].names_clients:
            lines.append(b"Client-Host: " + client.name)
        if client.session:
            lines.append(b"Auth-Session: " + client.session)
        if client.proxy is not None:
            lines += _proxy_lines(client.proxy)
        if isinstance(login.credentials, NoLogin):
            lines += _mail_lines(login.credentials, login.helo)
        if client.tls is not None:
            lines += _tls_lines(client.tls)
            if client.certificate is not None:
                lines += _certificate_lines(client.certificate, self._shows_certificate)
        lines += self._last_lines
        return self._join(lines)

    def _join(self, lines: Sequence[bytes]) -> bytes:
        """Join the lines of a request. Raises AuthUnavailable if one holds a line break or NUL."""
        text = b"".join(lines)
        if LF in text or CR in text or NUL in text:
            raise AuthUnavailable(
                f"{self._name} was not asked: a value of the client's holds a line break or NUL"
            )
        return b"\r\n".join(lines)

    def ask(self, request: bytes) -> Answer:
        """Send a request and return the answer. Raises AuthUnavailable, PeerTimeout."""
        try:
            return self.client.ask(request)
        except OSError as error:
            problem = f"cannot be reached: {error.strerror or error}; does it run, and listen there?"
        except TlsFailed as error:
            problem = f"cannot be trusted or spoken to: {error}; see its certificate, and auth_http_ca"
        except PeerGone as error:
            problem = f"gave no complete answer: {error}; its own log may say why"
        except BadAnswer as error:
            problem = str(error)
        raise AuthUnavailable(f"{self._name} {problem}")

    # -- the answer -------------------------------------------------------------------------------

    def read_verdict(self, answer: Answer, login: Login, protocol: str) -> Verdict | None:
        """Return the verdict in an answer; None: ask the service again. Raises AuthUnavailable."""
        statuses = answer.headers.get(b"auth-status", [])
        words = [status for status in statuses if status not in (b"OK", b"WAIT")]
        if words:
            return _make_refused(answer, words[-1], protocol)
        return None if b"WAIT" in statuses else self._accept(answer, login, protocol)

    def _accept(self, answer: Answer, login: Login, protocol: str) -> Accepted:
        name = answer.last(b"auth-backend")
        host, port = answer.last(b"auth-server"), answer.last(b"auth-port")
        if not name and not (host and port):
            raise AuthUnavailable(
                f"{self._name} did not send server or port, nor Auth-Backend"
                f" (HTTP status {answer.status or 'missing'})"
            )
        user, password = answer.last(b"auth-user"), answer.last(b"auth-pass")
        if password is None:
            password = login.password
        if password is None and FACTS[protocol].gives_password:
            raise AuthUnavailable(
                f"{self._name} did not send password: method {login.credentials.method} has none"
                " for the backend, so it must send Auth-Pass"
            )
        route = self._route_named(name, protocol) if name else self._route_to(host or b"", port or b"")
        return Accepted(route, login.user if user is None else user, password)

    def _route_named(self, name: bytes, protocol: str) -> Route:
        try:
            text = name.decode()
        except UnicodeDecodeError:
            text = ""
        if not self._backends.speaks(text, protocol):
            raise AuthUnavailable(
                f"{self._name} sent invalid backend {_quote(name)}: there is no such table in [backends]"
                " with an address for this protocol"
            )
        return NamedRoute(text)

    def _route_to(self, address: bytes, port: bytes) -> Route:
        route = self._routes.get((address, port))
        if route is None:
            host, number = self._read_address(address, port)
            route = AddressRoute(host, number, self._name, self._only_configured)
            if len(self._routes) < _MOST_ROUTES:
                self._routes[address, port] = route
        return route

    def _read_address(self, address: bytes, port: bytes) -> tuple[str, int]:
        host = parse_host(address)
        if host is None:
            raise AuthUnavailable(f"{self._name} sent invalid server address:{_quote(address)}")
        if not port.isdigit() or len(port) > 9 or not 0 < int(port) < 0x10000:
            raise AuthUnavailable(f"{self._name} sent invalid server port:{_quote(port)}")
        return host, int(port)


def escape(value: bytes) -> bytes:
    """Escape controls, space and ``%`` as nginx does; bytes from 7F on stay as they are."""
    if _unsafe(value) is None:
        return value
    return b"".join([_ESCAPES[code] for code in value])


def _authority(url: AuthHttp, port: int | None = None) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return host if port is None else f"{host}:{port}"


def make_tls_side(url: AuthHttp, ca: str | None, contexts: ContextMaker) -> TlsSide | None:
    """Make the TLS settings for connections to the service; None without https. Raises OSError."""
    if url.scheme != "https":
        return None
    return TlsSide(contexts(ca=ca, verify=True), server=False, server_name=url.host)


def _may_come_again(credentials: Credentials) -> bool:
    """Tell whether a client may come back with the same credentials, so that an answer is worth keeping."""
    match credentials:
        case Password() | Token():
            return True
        case Digest():
            return False  # each one is different
        case Asserted() | NoLogin():
            return False  # the service judges by the certificate, and by the recipient


def _credential_lines(credentials: Credentials) -> tuple[bytes, ...]:
    method, user = credentials.method.encode(), escape(credentials.user)
    head = b"Auth-Method: " + method, b"Auth-User: " + user
    match credentials:
        case Password():
            return (*head, b"Auth-Pass: " + escape(credentials.password))
        case Digest():
            return (*head, b"Auth-Pass: " + escape(credentials.digest), b"Auth-Salt: " + credentials.salt)
        case Token():
            return (*head, b"Auth-Pass: " + escape(credentials.token))
        case Asserted() | NoLogin():
            return (*head, b"Auth-Pass: ")


def _mail_lines(mail: NoLogin, helo: bytes) -> tuple[bytes, ...]:
    return (
        b"Auth-SMTP-Helo: " + helo,
        b"Auth-SMTP-From: " + mail.mail,
        b"Auth-SMTP-To: " + mail.rcpt,
    )


def _proxy_lines(proxy: ProxyAddresses) -> tuple[bytes, ...]:
    return (
        b"Proxy-Protocol-Addr: " + proxy.source.encode(),
        b"Proxy-Protocol-Port: %d" % proxy.source_port,
        b"Proxy-Protocol-Server-Addr: " + proxy.destination.encode(),
        b"Proxy-Protocol-Server-Port: %d" % proxy.destination_port,
    )


def _tls_lines(tls: tuple[str, str]) -> tuple[bytes, ...]:
    return (
        b"Auth-SSL: on",
        b"Auth-SSL-Protocol: " + tls[0].encode(),
        b"Auth-SSL-Cipher: " + tls[1].encode(),
    )


def _certificate_lines(certificate: ClientCertificate, whole: bool) -> list[bytes]:
    lines = [b"Auth-SSL-Verify: " + certificate.verify.encode()]
    if certificate.der:
        lines += (
            b"Auth-SSL-Subject: " + certificate.subject.encode(),
            b"Auth-SSL-Issuer: " + certificate.issuer.encode(),
            b"Auth-SSL-Serial: " + certificate.serial.encode(),
            b"Auth-SSL-Fingerprint: " + certificate.fingerprint.encode(),
        )
        if whole:
            lines.append(b"Auth-SSL-Cert: " + escape(certificate.pem.encode()))
    return lines


def _make_refused(answer: Answer, text: bytes, protocol: str) -> Refused:
    seconds = read_wait(answer)
    code = answer.last(b"auth-error-code") if FACTS[protocol].has_reply_codes else None
    if code is not None and not REPLY_CODE.fullmatch(code):
        code = None
    refusal = Refusal(text=_shorten(text), code=code)
    return Refused(refusal, seconds, close=seconds == 0, user=answer.last(b"auth-user") or b"")


def _shorten(text: bytes) -> bytes:
    """Make one line of the service's words, and shorten it between two letters."""
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT].decode(errors="ignore").encode()
    return text.translate(_CONTROLS)


def read_wait(answer: Answer) -> float:
    """Return the seconds that Auth-Wait asks for; 0 if it is not a number."""
    value = answer.last(b"auth-wait") or b""
    return min(float(value), LONGEST_WAIT) if value.isdigit() and len(value) <= 9 else 0.0


def parse_host(address: bytes) -> str | None:
    """Return the IP address or host name in Auth-Server; None if it is neither."""
    host = normalise_host(address.decode("latin-1"))
    if get_ip_family(host) is not None:
        return host
    is_name = len(host) <= _HOST_NAME_LENGTH and _HOST_NAME.fullmatch(host) is not None
    return host if is_name and not host.rpartition(".")[2].isdigit() else None


def _quote(value: bytes) -> str:
    """Quote a value of the service for one line of a log."""
    text = value[:64].decode("latin-1").encode("unicode_escape").decode().replace('"', '\\"')
    return f'"{text}"'
