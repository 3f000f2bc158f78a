"""``auth_http``: an HTTP service is asked, in nginx's protocol, header for header.

What geomail adds: kept-alive connections, https, ``Auth-Backend`` (the name of
a configured backend, in place of Auth-Server and Auth-Port), host names in
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
from geomail.backends import Endpoint
from geomail.backends.connect import unreachable
from geomail.conversation import CR, LF, NUL
from geomail.errors import AuthUnavailable, PeerGone, TlsFailed
from geomail.net.http import Answer, BadAnswer, HttpClient
from geomail.net.resolver import get_ip_family, normalise_host
from geomail.net.tls import TlsSide
from geomail.parties import Refusal

if TYPE_CHECKING:
    from geomail.auth.services import AuthServices
    from geomail.backends import Backends
    from geomail.config.schema import AuthHttp, Server
    from geomail.net.client_contexts import ContextMaker
    from geomail.net.resolver import Resolver
    from geomail.parties import Client, ClientCertificate, Login, ProxyAddresses

#: Bytes of a refusal that the client gets: an SMTP reply line has 512, its code and end included.
LONGEST_TEXT = 480
#: Seconds that ``Auth-Wait`` may ask for.
LONGEST_WAIT = 3600.0
#: Seconds between two questions while the service answers WAIT, at least; and how many of these.
SHORTEST_WAIT = 1.0
MOST_WAITS = 20

#: Only a password is worth keeping an answer for: a digest is another one each time, and mail without a login
#: is judged by each recipient.
_KEPT_METHODS = ("plain",)

_UNSAFE = bytes(range(0x21)) + b"%"
_ESCAPES = [b"%%%02X" % code if code in _UNSAFE else bytes((code,)) for code in range(256)]
_unsafe = re.compile(rb"[\0-\x20%]").search
_CONTROLS = bytes.maketrans(bytes((*range(0x09), *range(0x0A, 0x20), 0x7F)), b" " * 32)
REPLY_CODE = re.compile(rb"[45]\d\d( [245]\.\d{1,3}\.\d{1,3})?")
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_HOST_NAME_LENGTH = 253
#: Backend addresses that are kept, read and checked.
_MOST_KNOWN = 4096


class HttpSource(Source):
    """Asks the server's ``auth_http`` service about each login."""

    def __init__(
        self, server: Server, backends: Backends, resolver: Resolver, services: AuthServices
    ) -> None:
        url = server.auth_http
        assert url is not None, "auth = http without auth_http"
        self._known: dict[tuple[bytes, bytes], Endpoint] = {}
        self._backends = backends
        self._resolver = resolver
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
        seconds, most = server.auth_http_timeout, server.auth_http_connections
        self.client = HttpClient(
            pool=services.pool(server, self._name),
            addresses=lambda: (
                [(AF_UNIX, url.path)] if url.path else resolver.find_addresses(url.host, url.port)
            ),
            tls=tls_side(url, server.auth_http_ca, backends.contexts),
            peer="auth",
            seconds=seconds,
            timed_out=f"{self._name} timed out ({seconds:g} s, auth_http_timeout)",
            crowded=f"{self._name} answered on none of {most} connections (auth_http_connections)"
            f" in {seconds:g} s (auth_http_timeout)",
            keeps=server.auth_http_keepalive,
        )

    def check(self, login: Login, client: Client, protocol: str, attempt: int) -> Verdict:
        if self._cache is None or login.method not in _KEPT_METHODS:
            return self._asked(login, client, protocol, attempt)[0]
        key = self._key(self._cache, login, client, protocol)
        kept = self._cache.get(key)
        if kept is not None:
            user = login.user if kept.user is None else kept.user
            return Accepted(kept.backend, user, login.password if kept.password is None else kept.password)
        verdict, answer = self._asked(login, client, protocol, attempt)
        if isinstance(verdict, Accepted):
            replaced = answer.last(b"auth-user"), answer.last(b"auth-pass")
            self._cache.put(key, Kept(verdict.backend, *replaced))
        return verdict

    def refused_by_backend(self, login: Login, client: Client, protocol: str) -> None:
        if self._cache is not None and login.method in _KEPT_METHODS:
            self._cache.drop(self._key(self._cache, login, client, protocol))

    def _key(self, cache: AnswerCache, login: Login, client: Client, protocol: str) -> bytes:
        """All that the question holds, but what tells one attempt of a client from its next."""
        proxy = None if client.proxy is None else replace(client.proxy, source_port=0)
        return cache.key(self.question(login, replace(client, proxy=proxy, session=b""), protocol, 0))

    def _asked(self, login: Login, client: Client, protocol: str, attempt: int) -> tuple[Verdict, Answer]:
        request = self.question(login, client, protocol, attempt)
        for _ in range(1 + MOST_WAITS):
            answer = self.ask(request)
            verdict = self.verdict(answer, login, protocol)
            if verdict is not None:
                return verdict, answer
            sleep(max(wait(answer), SHORTEST_WAIT))
        raise AuthUnavailable(f"{self._name} answered WAIT {1 + MOST_WAITS} times to one login")

    def close(self) -> None:
        self.client.close()
        if self._cache is not None:
            self._cache.close()

    # -- the question -----------------------------------------------------------------------------

    def question(self, login: Login, client: Client, protocol: str, attempt: int) -> bytes:
        """The whole request about a login. Raises AuthUnavailable if it cannot be asked."""
        lines = [
            *self._first_lines,
            b"Auth-Method: " + login.method.encode(),
            b"Auth-User: " + escaped(login.user),
            b"Auth-Pass: " + escaped(login.password),
        ]
        if login.salt:
            lines.append(b"Auth-Salt: " + login.salt)
        lines += (
            b"Auth-Protocol: " + protocol.encode(),
            b"Auth-Login-Attempt: %d" % attempt,
            b"Client-IP: " + client.address.encode(),
        )
        if protocol == "smtp":
            lines.append(b"Client-Host: " + client.name)
        if client.session:
            lines.append(b"Auth-Session: " + client.session)
        if client.proxy is not None:
            lines += _proxy_lines(client.proxy)
        if login.method == "none":
            lines += (
                b"Auth-SMTP-Helo: " + login.helo,
                b"Auth-SMTP-From: " + login.mail,
                b"Auth-SMTP-To: " + login.rcpt,
            )
        if client.tls is not None:
            lines += _tls_lines(client.tls)
            if client.certificate is not None:
                lines += _certificate_lines(client.certificate, self._shows_certificate)
        lines += self._last_lines
        return self._sealed(lines)

    def _sealed(self, lines: Sequence[bytes]) -> bytes:
        """The request as one; refused if a line break or NUL came in with a value."""
        text = b"".join(lines)
        if LF in text or CR in text or NUL in text:
            raise AuthUnavailable(f"{self._name} was not asked: a line break or NUL in what the client gave")
        return b"\r\n".join(lines)

    def ask(self, request: bytes) -> Answer:
        """Send a request. Raises AuthUnavailable, PeerTimeout."""
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

    def verdict(self, answer: Answer, login: Login, protocol: str) -> Verdict | None:
        """What an answer says of a login; None: ask again later. Raises AuthUnavailable."""
        statuses = answer.headers.get(b"auth-status", [])
        words = [status for status in statuses if status not in (b"OK", b"WAIT")]
        if words:
            return _refused(answer, words[-1], protocol)
        return None if b"WAIT" in statuses else self._accepted(answer, login, protocol)

    def _accepted(self, answer: Answer, login: Login, protocol: str) -> Accepted:
        name = answer.last(b"auth-backend")
        host, port = answer.last(b"auth-server"), answer.last(b"auth-port")
        if not name and not (host and port):
            raise AuthUnavailable(
                f"{self._name} did not send server or port, nor Auth-Backend"
                f" (HTTP status {answer.status or 'missing'})"
            )
        user, password = answer.last(b"auth-user"), answer.last(b"auth-pass")
        if password is None and login.method == "plain":
            password = login.password
        if password is None and protocol != "smtp":
            raise AuthUnavailable(
                f"{self._name} did not send password: method {login.method} gives none that the backend could"
                " be told, so Auth-Pass is needed"
            )
        backend = self._backend_named(name) if name else self._backend_at(host or b"", port or b"")
        return Accepted(backend, login.user if user is None else user, password)

    def _backend_named(self, name: bytes) -> Endpoint:
        try:
            return self._backends.named(name.decode())
        except (KeyError, UnicodeDecodeError):
            text = (
                f"{self._name} sent invalid backend {_shown(name)}: there is no such table in [backends]"
                " with an address for this protocol"
            )
        raise AuthUnavailable(text)

    def _backend_at(self, address: bytes, port: bytes) -> Endpoint:
        known = self._known.get((address, port))
        if known is None:
            host, number = self._read_address(address, port)
            known = self._backends.written(host, number, only_configured=self._only_configured)
            if known is None:
                return self._checked(self._resolved(host, number))
            self._checked(known)
            if len(self._known) < _MOST_KNOWN:
                self._known[address, port] = known
        return known

    def _checked(self, endpoint: Endpoint) -> Endpoint:
        if self._only_configured and not endpoint.name:
            raise AuthUnavailable(
                f"{self._name} sent {endpoint.label}, which is not the address of a configured backend:"
                ' add it to [backends], or write auth_http_backends = "any"'
            )
        return endpoint

    def _resolved(self, host: str, port: int) -> Endpoint:
        resolve = self._resolver.find_addresses
        try:
            return self._backends.at(host, port, resolve, only_configured=self._only_configured)
        except OSError as error:
            raise unreachable(Endpoint("", host, port).label, error) from None

    def _read_address(self, address: bytes, port: bytes) -> tuple[str, int]:
        host = server_host(address)
        if host is None:
            raise AuthUnavailable(f"{self._name} sent invalid server address:{_shown(address)}")
        if not port.isdigit() or len(port) > 9 or not 0 < int(port) < 0x10000:
            raise AuthUnavailable(f"{self._name} sent invalid server port:{_shown(port)}")
        return host, int(port)


def escaped(value: bytes) -> bytes:
    """A value as nginx escapes it: controls, space and ``%``; bytes from 7F on stay as they are."""
    if _unsafe(value) is None:
        return value
    return b"".join([_ESCAPES[code] for code in value])


def _authority(url: AuthHttp, port: int | None = None) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return host if port is None else f"{host}:{port}"


def tls_side(url: AuthHttp, ca: str | None, contexts: ContextMaker) -> TlsSide | None:
    """The TLS of connections to the service; None where it has none. Raises OSError."""
    if url.scheme != "https":
        return None
    return TlsSide(contexts(ca=ca, verify=True), server=False, server_name=url.host)


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
            lines.append(b"Auth-SSL-Cert: " + escaped(certificate.pem.encode()))
    return lines


def _refused(answer: Answer, text: bytes, protocol: str) -> Refused:
    seconds = wait(answer)
    code = answer.last(b"auth-error-code") if protocol == "smtp" else None
    if code is not None and not REPLY_CODE.fullmatch(code):
        code = None
    refusal = Refusal(text=_clean(text), code=code)
    return Refused(refusal, seconds, close=seconds == 0, user=answer.last(b"auth-user") or b"")


def _clean(text: bytes) -> bytes:
    """The service's words as one line of bounded length; a letter cut in half is dropped."""
    if len(text) > LONGEST_TEXT:
        text = text[:LONGEST_TEXT].decode(errors="ignore").encode()
    return text.translate(_CONTROLS)


def wait(answer: Answer) -> float:
    """The seconds that Auth-Wait asks for, 0 for what is no number."""
    value = answer.last(b"auth-wait") or b""
    return min(float(value), LONGEST_WAIT) if value.isdigit() and len(value) <= 9 else 0.0


def server_host(address: bytes) -> str | None:
    """The IP address or host name in Auth-Server, None if it is neither."""
    host = normalise_host(address.decode("latin-1"))
    if get_ip_family(host) is not None:
        return host
    is_name = len(host) <= _HOST_NAME_LENGTH and _HOST_NAME.fullmatch(host) is not None
    return host if is_name and not host.rpartition(".")[2].isdigit() else None


def _shown(value: bytes) -> str:
    """What the service sent, fit for one line of a log."""
    text = value[:64].decode("latin-1").encode("unicode_escape").decode().replace('"', '\\"')
    return f'"{text}"'
