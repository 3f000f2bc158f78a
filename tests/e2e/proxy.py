"""geomail in front of Postfix and Dovecot, with a port for each way in; and the clients that take them."""

import imaplib
import poplib
import smtplib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import toml

from tests.net.name_server import NameServer
from tests.servers.accounts import ACCOUNTS
from tests.servers.auth_http import AuthService, listening
from tests.servers.certificates import Certificates
from tests.servers.dovecot import Dovecot
from tests.servers.geomail import Geomail, serving
from tests.servers.postfix import Postfix
from tests.servers.support import LOOPBACK, free_port

Source = Literal["auth_http", "passthrough"]
Security = Literal["plain", "starttls", "implicit"]
Protocol = Literal["smtp", "imap", "pop3"]
SOURCES: tuple[Source, ...] = ("auth_http", "passthrough")
SECURITIES: tuple[Security, ...] = ("plain", "starttls", "implicit")
PROTOCOLS: tuple[Protocol, ...] = ("smtp", "imap", "pop3")

METHODS: dict[Protocol, str] = {
    "smtp": "plain login cram-md5",
    "imap": "plain login cram-md5",
    "pop3": "plain apop cram-md5",
}

#: Where SMTP clients come from, and its name; geomail itself comes from 127.0.0.1.
CLIENT, CLIENT_NAME = "127.0.0.2", "client.example.test"
TIMEOUT = 20


@dataclass
class Servers:
    """What stands behind geomail, and what it asks."""

    postfix: Postfix
    dovecot: Dovecot
    certificates: Certificates
    names: NameServer

    @property
    def ports(self) -> dict[Protocol, int]:
        """The backends of the three protocols; Postfix takes mail only from who has logged in."""
        return {"smtp": self.postfix.submission, "imap": self.dovecot.imap, "pop3": self.dovecot.pop3}

    def configuration(self, server: list[dict[str, Any]], **tables: Any) -> str:
        """A configuration with these servers, and with what they all need."""
        mail = {
            "server_name": "proxy.example.test",
            "resolver": "{}:{}".format(*self.names.address),
            "ssl_certificate": str(self.certificates.server.certificate),
            "ssl_certificate_key": str(self.certificates.server.key),
            "server": server,
        }
        return toml.dumps({"mail": mail, **tables})


@dataclass
class Proxy:
    """geomail, listening for every protocol, auth source and kind of TLS."""

    servers: Servers
    auth: AuthService
    ports: dict[tuple[Source, Protocol, bool], int] = field(default_factory=dict)
    running: dict[tuple[Source, Protocol], Geomail] = field(default_factory=dict)

    def port(self, source: Source, protocol: Protocol, security: Security) -> int:
        """Where clients of this kind connect."""
        return self.ports[source, protocol, security == "implicit"]

    def client(
        self, protocol: Protocol, source: Source, security: Security
    ) -> AbstractContextManager[smtplib.SMTP | imaplib.IMAP4 | poplib.POP3]:
        """The standard library's client of a protocol."""
        match protocol:
            case "smtp":
                return self.smtp(source, security)
            case "imap":
                return self.imap(source, security)
            case "pop3":
                return self.pop3(source, security)

    @contextmanager
    def smtp(self, source: Source, security: Security, address: str = CLIENT) -> Iterator[smtplib.SMTP]:
        """smtplib's client, after EHLO, coming from ``address``."""
        port, origin = self.port(source, "smtp", security), (address, 0)
        tls = self.servers.certificates.client_context()
        if security == "implicit":
            client: smtplib.SMTP = smtplib.SMTP_SSL(
                LOOPBACK, port, "client.test", timeout=TIMEOUT, source_address=origin, context=tls
            )
        else:
            client = smtplib.SMTP(LOOPBACK, port, "client.test", timeout=TIMEOUT, source_address=origin)
        with client:
            client.ehlo()
            if security == "starttls":
                client.starttls(context=tls)
                client.ehlo()
            yield client

    @contextmanager
    def imap(self, source: Source, security: Security) -> Iterator[imaplib.IMAP4]:
        """imaplib's client, not yet logged in."""
        port, tls = self.port(source, "imap", security), self.servers.certificates.client_context()
        if security == "implicit":
            client: imaplib.IMAP4 = imaplib.IMAP4_SSL(LOOPBACK, port, ssl_context=tls, timeout=TIMEOUT)
        else:
            client = imaplib.IMAP4(LOOPBACK, port, TIMEOUT)
        with client:
            if security == "starttls":
                client.starttls(tls)
            yield client

    @contextmanager
    def pop3(self, source: Source, security: Security) -> Iterator[poplib.POP3]:
        """poplib's client, not yet logged in."""
        port, tls = self.port(source, "pop3", security), self.servers.certificates.client_context()
        if security == "implicit":
            client: poplib.POP3 = poplib.POP3_SSL(LOOPBACK, port, timeout=TIMEOUT, context=tls)
        else:
            client = poplib.POP3(LOOPBACK, port, TIMEOUT)
        try:
            if security == "starttls":
                client.stls(tls)
            yield client
            client.quit()
        finally:
            client.close()


@contextmanager
def proxying(servers: Servers, folder: Path) -> Iterator[Proxy]:
    """Run geomail for both auth sources: one for auth_http, and one for each protocol with passthrough."""
    with ExitStack() as running:
        auth = AuthService()
        running.enter_context(listening(auth))
        for account in ACCOUNTS:
            auth.admit(account, servers.ports)
        proxy = Proxy(servers, auth)
        for number, (configuration, ways) in enumerate(_configurations(proxy)):
            place = folder / str(number)
            place.mkdir()
            geomail = running.enter_context(serving(configuration, place))
            proxy.running |= dict.fromkeys(ways, geomail)
        yield proxy


def _configurations(proxy: Proxy) -> Iterator[tuple[str, list[tuple[Source, Protocol]]]]:
    url = f"http://{LOOPBACK}:{proxy.auth.port}/auth"
    everything = [_server(proxy, "auth_http", protocol) | {"auth_http": url} for protocol in PROTOCOLS]
    for server in everything:
        server[f"{server['protocol']}_auth"] = METHODS[server["protocol"]]
    yield proxy.servers.configuration(everything), [("auth_http", protocol) for protocol in PROTOCOLS]
    for protocol in PROTOCOLS:
        server = _server(proxy, "passthrough", protocol) | {"auth": "passthrough"}
        backends = {"real": {"address": f"{LOOPBACK}:{proxy.servers.ports[protocol]}"}}
        auth = {"passthrough": {"default": "real"}}
        yield proxy.servers.configuration([server], auth=auth, backends=backends), [("passthrough", protocol)]


def _server(proxy: Proxy, source: Source, protocol: Protocol) -> dict[str, Any]:
    plain, implicit = free_port(), free_port()
    proxy.ports |= {(source, protocol, False): plain, (source, protocol, True): implicit}
    listen = [f"{LOOPBACK}:{plain}", f"{LOOPBACK}:{implicit} ssl"]
    return {"protocol": protocol, "listen": listen, "starttls": "on"}
