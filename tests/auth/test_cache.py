"""The cache of accepted logins: its keys, its times, and that it keeps no secret of a client."""

import gc
import sys
from collections.abc import Iterator
from dataclasses import replace

import gevent
import pytest

from geomail.auth import cache
from geomail.auth.base import Accepted, Source
from geomail.auth.cache import AnswerCache, Kept
from geomail.backends import AddressRoute
from geomail.parties import (
    Asserted,
    Client,
    ClientCertificate,
    Credentials,
    Digest,
    Login,
    NoLogin,
    Password,
    ProxyAddresses,
    Token,
)
from tests.auth.support import source
from tests.net.raw_service import RawService

LOGIN = Login(Password(b"anna@example.org", b"secret"), tag=b"a1")
PROXY = ProxyAddresses("198.51.100.1", 5000, "198.51.100.2", 143)
CLIENT = Client(
    *("192.0.2.1", 4711, "192.0.2.2", 143),
    proxy=PROXY,
    tls=("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
    session=b"s-1",
)
ANSWER = Kept(AddressRoute("10.0.0.1", 143, "the service"), None, b"other")
OK = b"HTTP/1.1 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 192.0.2.11\r\nAuth-Port: 143\r\n"
END = b"Content-Length: 0\r\n\r\n"


class Cached:
    """An auth service behind a cache; ``said`` are its answers, of which it repeats the last one."""

    def __init__(self, service: RawService, seconds: float = 60.0) -> None:
        self.service = service
        url = f"http://127.0.0.1:{service.port}/"
        self.source: Source = source(
            "imap", auth_http=url, auth_http_cache=seconds, proxy_protocol="v2", auth_http_keepalive="off"
        )

    def asks(
        self, login: Login = LOGIN, peer: Client = CLIENT, protocol: str = "imap", attempt: int = 1
    ) -> bool:
        """Log in, and tell whether geomail asked the service."""
        before = len(self.service.requests)
        self.verdict = self.source.check(login, peer, protocol, attempt)
        return len(self.service.requests) > before


@pytest.fixture
def cached() -> Iterator[Cached]:
    with RawService(OK + END) as service:
        made = Cached(service)
        yield made
        made.source.close()


def test_the_same_question_gets_the_same_answer(cached: Cached) -> None:
    assert cached.asks()
    first = cached.verdict

    again = replace(CLIENT, port=4712, session=b"s-2", proxy=replace(PROXY, source_port=5001))
    assert not cached.asks(replace(LOGIN, tag=b"a2"), again, attempt=2)
    assert cached.verdict == first
    assert isinstance(first, Accepted)
    assert (first.user, first.password) == (LOGIN.user, LOGIN.password)


@pytest.mark.parametrize(
    ("login", "peer", "protocol"),
    [
        (LOGIN.rewrite(b"anna@example.com"), CLIENT, "imap"),
        (LOGIN.rewrite(None, b"Secret"), CLIENT, "imap"),
        (LOGIN.rewrite(b"anna@example.orgs", b"ecret"), CLIENT, "imap"),
        (LOGIN, replace(CLIENT, address="192.0.2.9"), "imap"),
        (LOGIN, replace(CLIENT, tls=None), "imap"),
        (LOGIN, replace(CLIENT, tls=("TLSv1.2", "TLS_AES_128_GCM_SHA256")), "imap"),
        (LOGIN, replace(CLIENT, name=b"mail.example.org"), "smtp"),
        (LOGIN, CLIENT, "pop3"),
        (LOGIN, replace(CLIENT, proxy=None), "imap"),
        (LOGIN, replace(CLIENT, proxy=replace(PROXY, source="198.51.100.9")), "imap"),
        (LOGIN, replace(CLIENT, proxy=replace(PROXY, destination="198.51.100.9")), "imap"),
        (LOGIN, replace(CLIENT, proxy=replace(PROXY, destination_port=993)), "imap"),
        (LOGIN, replace(CLIENT, certificate=ClientCertificate()), "imap"),
    ],
)
def test_a_question_that_differs_anywhere_is_another_question(
    login: Login, peer: Client, protocol: str, cached: Cached
) -> None:
    assert cached.asks(protocol=protocol if login is LOGIN and peer is not CLIENT else "imap")
    assert cached.asks(login, peer, protocol)


@pytest.mark.parametrize(
    ("credentials", "again"),
    [
        (Digest(b"anna", b"0" * 32, b"<1@x>", "apop"), True),
        (Digest(b"anna", b"0" * 32, b"<1@x>", "cram-md5"), True),
        (Asserted(b"anna"), True),
        (NoLogin(b"MAIL FROM:<>", b"RCPT"), True),
        (Token(b"anna", b"0" * 32, "xoauth2"), False),
        (Token(b"anna", b"0" * 32, "oauthbearer"), False),
    ],
)
def test_the_type_of_the_credentials_tells_whether_an_answer_is_kept(
    credentials: Credentials, again: bool
) -> None:
    login = Login(credentials, helo=b"h")
    with RawService(OK + b"Auth-Pass: x\r\n" + END) as service:
        cached = Cached(service)
        assert [cached.asks(login) for _ in range(2)] == [True, again]


def test_a_refusal_is_not_kept() -> None:
    with RawService(b"HTTP/1.1 200 OK\r\nAuth-Status: no\r\nAuth-Wait: 1\r\n" + END) as service:
        cached = Cached(service)
        assert [cached.asks() for _ in range(2)] == [True, True]


def test_an_answer_that_the_backend_proves_wrong_is_not_kept(cached: Cached) -> None:
    other = LOGIN.rewrite(b"bert")
    assert cached.asks()
    assert cached.asks(other)
    cached.source.note_backend_refusal(LOGIN, replace(CLIENT, session=b"s-9"), "imap")

    assert cached.asks()
    assert not cached.asks(other)


def test_what_the_service_replaced_is_kept() -> None:
    with RawService(OK + b"Auth-User: jane\r\nAuth-Pass: \r\n" + END) as service:
        cached = Cached(service)
        for asked in (True, False):
            assert cached.asks() is asked
            assert isinstance(cached.verdict, Accepted)
            assert (cached.verdict.user, cached.verdict.password) == (b"jane", b"")
        cached.source.close()


def test_an_answer_is_kept_for_a_limited_time() -> None:
    answers = AnswerCache(0.02)
    answers.put(b"1", ANSWER)
    assert answers.get(b"1") is ANSWER
    gevent.sleep(0.03)
    assert answers.get(b"1") is None


def test_the_number_kept_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_KEPT", 3)
    answers = AnswerCache(60.0)
    for key in (b"1", b"2", b"1", b"3", b"4"):
        answers.put(key, ANSWER)
    assert [answers.get(key) is not None for key in (b"1", b"2", b"3", b"4")] == [True, False, True, True]
    answers.close()


def test_keys_differ_between_processes() -> None:
    assert AnswerCache(60.0).key(b"question") != AnswerCache(60.0).key(b"question")


def found_in_memory(secret: bytes) -> list[object]:
    """Return the objects of this process that hold the secret, as bytes or as text, except the test's own."""
    gc.collect()
    text, found = secret.decode(), list[object]()
    mine = [sys._getframe(), sys._getframe(1)]
    seen = set(map(id, (secret, text, found, mine, *mine)))
    rest = [one for one in gc.get_objects() if id(one) not in seen]
    seen.update(map(id, (rest,)))
    while rest:
        for one in gc.get_referents(rest.pop()):
            if id(one) in seen:
                continue
            seen.add(id(one))
            if (isinstance(one, bytes) and secret in one) or (isinstance(one, str) and text in one):
                found.append(one)
            elif not gc.is_tracked(one):
                rest.append(one)
    return found


@pytest.mark.parametrize("replaced", [b"", b"Auth-Pass: %b\r\n"])
def test_no_password_is_in_memory_that_must_not_hold_it(replaced: bytes) -> None:
    number = "4711"
    password = f"pass-{number}-word".encode()
    other = f"pass-{number}-other".encode()
    given = replaced and replaced % other
    with RawService(OK + given + END) as service:
        cached = Cached(service, seconds=0.05)
        for user in range(50):
            # a copy: the test's own is not looked for
            cached.asks(LOGIN.rewrite(b"u%d" % user, bytes(bytearray(password))))
        assert len(cached.source._cache._answers) == 50  # type: ignore[attr-defined]
        cached.verdict = None  # type: ignore[assignment]
        service.requests.clear()
        assert found_in_memory(password) == [], "while the answers are kept"
        service.answers.clear()
        del given
        with gevent.Timeout(1.05):
            while cached.source._cache._answers:  # type: ignore[attr-defined]
                gevent.sleep(0.01)
        assert found_in_memory(other) == [], "within a second after their time"
        cached.source.close()
