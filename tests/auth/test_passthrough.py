"""The routes of passthrough, which asks no auth service."""

import pytest

from geomail.auth.base import Accepted, Refused, Verdict
from geomail.auth.passthrough import PassthroughSource, get_recipient
from geomail.backends import Backends
from geomail.config.routes import get_domain
from geomail.config.schema import Backend, Passthrough
from geomail.parties import Login, NoLogin, Password, Refusal
from tests.auth.support import RESOLVER, endpoint, source
from tests.protocols.support import client_at

ROUTES = {
    "domains": {"Example.org": "two", "xn--bcher-kva.example": "three"},
    "users": {"boss@example.org": "one", "postmaster": "six"},
}

NO_ROUTE = Refused(
    Refusal(neutral=True), wait=0.0, close=False, reason="no route leads to a backend of this protocol"
)


def verdict(login: Login, protocol: str = "imap", **routes: object) -> Verdict:
    return source(protocol, auth="passthrough", routes={**ROUTES, **routes}).check(
        login, client_at(), protocol, 1
    )


@pytest.mark.parametrize(
    ("user", "backend"),
    [
        (b"boss@example.org", "one"),
        (b"postmaster", "six"),
        (b"Boss@example.org", "two"),
        (b"ann@example.org", "two"),
        (b"ann@EXAMPLE.Org", "two"),
        (b"ann@example.org.", "two"),
        (b"ann@elsewhere@example.org", "two"),
        (b"ann@example.org@elsewhere", "local"),
        (b"ann@sub.example.org", "local"),
        (b"ann@xn--bcher-kva.example", "three"),
        (b"ann", "local"),
        (b"ann@", "local"),
        (b"@example.org", "two"),
        (b"", "local"),
        (b"\xff@example.org", "two"),
    ],
)
def test_a_user_goes_to_the_backend_of_the_user_the_domain_or_the_default(user: bytes, backend: str) -> None:
    found = verdict(Login(Password(user, b"secret")), default="local")

    assert isinstance(found, Accepted)
    assert (endpoint(found).name, found.user, found.password) == (backend, user, b"secret")


@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])
def test_a_user_without_a_route_looks_like_a_wrong_password(protocol: str) -> None:
    assert verdict(Login(Password(b"ann@elsewhere", b"x")), protocol) == NO_ROUTE


@pytest.mark.parametrize(
    ("command", "backend"),
    [
        (b"RCPT TO:<ann@example.org>", "two"),
        (b"RCPT TO:<boss@example.org>", "two"),
        (b"rcpt to:<ann@EXAMPLE.ORG> NOTIFY=NEVER", "two"),
        (b"RCPT TO: <ann@example.org>", "two"),
        (b"RCPT TO:ann@example.org ORCPT=rfc822;x@elsewhere", "two"),
        (b"RCPT TO:<@relay.test,@other.test:ann@example.org>", "two"),
        (b'RCPT TO:<"a>b @elsewhere"@example.org>', "two"),
        (b'RCPT TO:<"a\\"b>@elsewhere"@example.org>', "two"),
        (b"RCPT TO:<ann@elsewhere> X=<ann@example.org>", None),
        (b"RCPT TO:<postmaster>", None),
        (b"RCPT TO:<ann@[192.0.2.1]>", None),
        (b'RCPT TO:<"ann@example.org', None),
        (b"RCPT TO:<>", None),
        (b"RCPT TO:", None),
        (b"RCPT", None),
    ],
)
def test_mail_without_login_goes_by_the_domain_of_its_recipient(command: bytes, backend: str | None) -> None:
    login = Login(NoLogin(b"MAIL FROM:<boss@example.org>", command), helo=b"me")

    found = verdict(login, "smtp")
    by_default = verdict(login, "smtp", default="local")

    if backend is None:
        assert found == Refused(
            Refusal(text=b"Bad destination system address", code=b"550 5.1.2"), wait=0.0, close=False
        )
    else:
        assert isinstance(found, Accepted)
        assert (endpoint(found, "smtp").name, found.user, found.password) == (backend, b"", None)
    assert isinstance(by_default, Accepted)
    assert endpoint(by_default, "smtp").name == (backend or "local")


def test_the_backend_verifies_the_credentials() -> None:
    assert source("imap", auth="passthrough", routes=ROUTES).passthrough


@pytest.mark.parametrize(
    ("command", "address"),
    [
        (b"RCPT TO:<a@b>", b"a@b"),
        (b"RCPT TO:<a@b", b"a@b"),
        (b"RCPT TO:a@b X=1", b"a@b"),
        (b'RCPT TO:<"a b"@c>', b'"a b"@c'),
        (b'RCPT TO:"a b"@c X=1', b'"a b"@c'),
        (b"RCPT TO:<" + b"a" * 100_000 + b"@b>", b"a" * 100_000 + b"@b"),
        (b'RCPT TO:<"' + b'\\"' * 50_000, b""),
    ],
)
def test_the_address_in_a_command(command: bytes, address: bytes) -> None:
    assert get_recipient(command) == address


@pytest.mark.parametrize(
    ("address", "domain"), [(b"a@B", b"b"), (b"a", b""), (b"a@b@c.", b"c"), (b"@", b""), (b"", b"")]
)
def test_the_domain_of_an_address(address: bytes, domain: bytes) -> None:
    assert get_domain(address) == domain


@pytest.mark.parametrize(("protocol", "port"), [("imap", 143), ("smtp", 587), ("pop3", None)])
def test_a_backend_has_an_address_for_each_protocol_or_none(protocol: str, port: int | None) -> None:
    backend = Backend.model_validate({"name": "b", "imap": "10.0.0.1:143", "smtp": "10.0.0.1:587"})
    backends = Backends({"b": backend})
    asked = PassthroughSource(Passthrough(default="b"), backends, protocol)

    given = asked.check(Login(Password(b"u", b"p")), client_at(), protocol, 1)

    if port is None:
        assert given == NO_ROUTE
    else:
        assert isinstance(given, Accepted)
        (found,) = backends.find_candidates(given.route, protocol, RESOLVER)
        assert (found.port, found.name) == (port, "b")


@pytest.mark.parametrize("user", [b"ann@example.org", b"boss@example.net"])
def test_a_password_goes_only_to_the_backend_of_its_route(user: bytes) -> None:
    smtp_alone = Backend.model_validate({"name": "smtp", "smtp": "10.0.0.1:587"})
    other = Backend.model_validate({"name": "other", "address": "10.0.0.2:143"})
    routes = Passthrough(
        default="other",
        domains={"example.org": "smtp", "example.net": "other"},
        users={"boss@example.net": "smtp"},
    )
    asked = PassthroughSource(routes, Backends({"smtp": smtp_alone, "other": other}), "imap")

    assert asked.check(Login(Password(user, b"secret")), client_at(), "imap", 1) == NO_ROUTE
