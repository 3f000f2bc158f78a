"""The HTTP client against raw bytes: framing, kept-alive connections, limits, ends at every point."""

import time
from collections.abc import Iterator
from pathlib import Path
from socket import AF_INET

import gevent
import pytest

from geomail.errors import PeerGone, PeerTimeout, TlsFailed
from geomail.net import http, pool
from geomail.net.http import Answer, BadAnswer, HttpClient
from geomail.net.pool import Pool
from geomail.net.tls import TlsSide
from geomail.net.tls_contexts import make_client_context
from tests.net.raw_service import CLOSE, RESET, Action, RawService, closed_port, until_rested
from tests.net.support import PATIENCE, until
from tests.servers.certificates import Certificate, Certificates

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\nX: 1\r\n\r\n"


@pytest.fixture
def clients() -> Iterator[list[HttpClient]]:
    made: list[HttpClient] = []
    yield made
    for client in made:
        client.close()


@pytest.fixture
def client_of(clients: list[HttpClient]) -> "Clients":
    return Clients(clients)


class Clients:
    def __init__(self, made: list[HttpClient]) -> None:
        self._made = made
        self.unasked: list[bool] = []

    def __call__(
        self,
        port: int,
        tls: TlsSide | None = None,
        seconds: float = PATIENCE,
        most: int = 256,
        keeps: bool = True,
    ) -> HttpClient:
        client = HttpClient(
            pool=Pool(most, self.unasked.append),
            addresses=lambda: [(AF_INET, ("127.0.0.1", port))],
            tls=tls,
            peer="auth",
            seconds=seconds,
            timed_out="the service timed out",
            crowded="no place",
            keeps=keeps,
        )
        self._made.append(client)
        return client


@pytest.fixture(autouse=True)
def _short_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "LOOK", 0.001)


def ask(client: HttpClient) -> Answer:
    """Wait until all idle connections have rested, then ask."""
    until_rested(client.pool)
    return client.ask(REQUEST)


def head(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((start, *lines, b"", b""))


REUSABLE = {
    "204 has no body": head(b"X: 1", start=b"HTTP/1.1 204 No Content"),
    "304 has no body, whatever it declares": head(
        b"X: 1", b"Content-Length: 9", start=b"HTTP/1.1 304 Not Modified"
    ),
    "length 0": head(b"X: 1", b"Content-Length: 0"),
    "length": head(b"X: 1", b"Content-Length: 5") + b"hello",
    "length of an error": head(b"X: 1", b"Content-Length: 5", start=b"HTTP/1.1 500 Oops") + b"sorry",
    "largest body": head(b"X: 1", b"Content-Length: 65536") + b"x" * 65536,
    "chunks": head(b"X: 1", b"Transfer-Encoding: Chunked") + b"5\r\nhello\r\n0A;x=y\r\n0123456789\r\n"
    b"0\r\n\r\n",
    "no chunk": head(b"X: 1", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "trailers": head(b"X: 1", b"Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\nX: 2\r\nY: 3\r\n\r\n",
    "100 first": head(start=b"HTTP/1.1 100 Continue") + head(b"X: 1", b"Content-Length: 0"),
    "103 and 100 first": head(b"X: 9", start=b"HTTP/1.1 103 Early Hints")
    + head(start=b"HTTP/1.1 100 Continue")
    + head(b"X: 1", b"Content-Length: 0"),
    "LF line ends": b"HTTP/1.1 204 No Content\nX: 1\n\n",
    "no reason phrase": b"HTTP/1.1 204\r\nX: 1\r\n\r\n",
}
UNREADABLE = "sent invalid header in response: a line without a readable name"
NOT_REUSABLE = {
    "until the connection ends": head(b"X: 1") + b"hello",
    "HTTP/1.0": head(b"X: 1", b"Content-Length: 0", start=b"HTTP/1.0 200 OK"),
    "HTTP/1.0 with keep-alive": head(
        b"X: 1", b"Connection: keep-alive", b"Content-Length: 0", start=b"HTTP/1.0 200 OK"
    ),
    "Connection: close": head(b"X: 1", b"Connection: Close", b"Content-Length: 0"),
    "close among others": head(b"X: 1", b"Connection: x, close", b"Content-Length: 0"),
    "no status line": head(b"Content-Length: 0", start=b"X: 1"),
    "no such status": head(b"X: 1", b"Content-Length: 0", start=b"HTTP/1.1 fine"),
    "unknown coding": head(b"X: 1", b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "a length twice": head(b"X: 1", b"Content-Length: 0", b"Content-Length: 0"),
    "length without end": head(b"X: 1", b"Content-Length: " + b"9" * 5000),
    "body too large": head(b"X: 1", b"Content-Length: 65537") + b"x" * 65537,
    "chunk too large": head(b"X: 1", b"Transfer-Encoding: chunked")
    + b"10000\r\n"
    + b"x" * 65536
    + b"\r\n0\r\n\r\n",
    "chunks too many": head(b"X: 1", b"Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 30000 + b"0\r\n\r\n",
    "chunk of no size": head(b"X: 1", b"Transfer-Encoding: chunked") + b"\r\n\r\n",
    "chunk of negative size": head(b"X: 1", b"Transfer-Encoding: chunked") + b"-1\r\n\r\n",
    "chunk of Python's hex": head(b"X: 1", b"Transfer-Encoding: chunked") + b"0x1\r\nx\r\n0\r\n\r\n",
    "chunk longer than declared": head(b"X: 1", b"Transfer-Encoding: chunked") + b"1\r\nxxx\r\n0\r\n\r\n",
    "chunk without its line end": head(b"X: 1", b"Transfer-Encoding: chunked") + b"1\r\nxAB0\r\n\r\n",
    "endless trailers": head(b"X: 1", b"Transfer-Encoding: chunked")
    + b"0\r\n"
    + b"Y: 2\r\n" * 5000
    + b"\r\n",
}


@pytest.mark.parametrize("answer", REUSABLE.values(), ids=REUSABLE.keys())
def test_one_connection_serves_many_questions(answer: bytes, client_of: Clients) -> None:
    with RawService(answer) as service:
        client = client_of(service.port)

        answers = [ask(client) for _ in range(3)]

    assert [answer.headers[b"x"] for answer in answers] == [[b"1"]] * 3
    assert (service.connections, len(service.requests)) == (1, 3)
    assert client_of.unasked == []


@pytest.mark.parametrize("answer", NOT_REUSABLE.values(), ids=NOT_REUSABLE.keys())
def test_an_answer_with_an_unclear_end_counts_and_ends_the_connection(
    answer: bytes, client_of: Clients
) -> None:
    with RawService(answer) as service:
        client = client_of(service.port)

        answers = [ask(client) for _ in range(2)]

    assert [answer.headers[b"x"] for answer in answers] == [[b"1"]] * 2
    assert service.connections == 2


@pytest.mark.parametrize("size", [1, 7])
@pytest.mark.parametrize("answer", [REUSABLE["trailers"], REUSABLE["100 first"]])
def test_an_answer_in_pieces(answer: bytes, size: int, client_of: Clients) -> None:
    pieces: list[Action] = []
    for start in range(0, len(answer), size):
        pieces += [answer[start : start + size], 0.0005]
    with RawService(pieces) as service:
        client = client_of(service.port)
        ask(client)

        assert ask(client).headers[b"x"] == [b"1"]

    assert service.connections == 1


def test_headers_are_kept_in_order_under_their_lower_case_name(client_of: Clients) -> None:
    answer = head(b"A-b:  1 ", b"a-B:", b"A-B:\t2", b"A-b", b"C: d: e", b"Content-Length: 0")
    with RawService(answer) as service:
        found = client_of(service.port).ask(REQUEST)

    assert found.headers[b"a-b"] == [b"1", b"", b"2", b""]
    assert found.last(b"c") == b"d: e"
    assert found.last(b"d") is None
    assert found.status == 200


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"HTTP/1.1 200 OK\rX: 1\r\n\r\n", "sent invalid response"),
        (head(b"X: 1", b" folded: secret"), UNREADABLE),
        (head(b"X: 1", b"\tfolded: secret"), UNREADABLE),
        (head(b"a secret"), UNREADABLE),
        (head(b"X : secret"), "sent invalid header in response: X"),
        (head(b"Auth-Pass: secret\rY: 2"), "sent invalid header in response: Auth-Pass"),
        (head(b"Auth-Pass: secret\0"), "sent invalid header in response: Auth-Pass"),
        (head(b"Auth-Pass\r: secret"), UNREADABLE),
        (head(b"Auth-Status\0: secret"), UNREADABLE),
        (head(b"\xe9Auth-Status: secret"), UNREADABLE),
        (head(b"Auth_Status: secret"), "sent invalid header in response: Auth_Status"),
        (head(b"X: secret\rY: 2"), "sent invalid header in response: X"),
        (head(b"Content-Length: 1\0secret"), "sent invalid header in response: Content-Length"),
        (head(b"Content-Length: 0", b"Content-Length: 5"), "sent two different values of Content-Length"),
        (head(b"Content-Length: -1"), "sent a Content-Length that is not a number"),
        (head(b"Content-Length: 0", b"Transfer-Encoding: chunked"), "sent both Content-Length and"),
        (head(b"Y" * 50 + b": secret\r1"), f"sent invalid header in response: {'Y' * 40}"),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", "sent invalid header in response"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 5000, "sent more than 16384 bytes of headers"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"1" * 17000, "sent more than 16384 bytes of headers"),
        (b"x" * 17000, "sent more than 16384 bytes of headers"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, "sent more than 16384 bytes of headers"),
        (b"HTTP/1.1 200 OK\n" + b"X:\n" * 9000, "sent more than 16384 bytes of headers"),
    ],
)
def test_text_that_is_not_an_answer(answer: bytes, problem: str, client_of: Clients) -> None:
    with RawService(answer) as service:
        client = client_of(service.port)
        with pytest.raises(BadAnswer) as caught:
            ask(client)

    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "odd", [b"X_y: 1", b"-X: 1", b"!#$%&'*+-.^_`|~0: 1", b": 1", b"X\xe9: 1", b"(X): 1", b"Y: 1\0", b"a b: 1"]
)
def test_odd_headers_are_skipped(odd: bytes, client_of: Clients) -> None:
    with RawService(head(odd, b"X: 1", b"Content-Length: 0")) as service:
        client = client_of(service.port)

        assert [ask(client).headers[b"x"] for _ in range(2)] == [[b"1"]] * 2

    assert service.connections == 1


def test_white_space_around_a_value_is_dropped(client_of: Clients) -> None:
    with RawService(head(b"X:\t1 \t", b"Y: \t\t", b"Content-Length:\t0\t")) as service:
        found = client_of(service.port).ask(REQUEST)

    assert (found.last(b"x"), found.last(b"y")) == (b"1", b"")


def test_headers_that_just_fit(client_of: Clients) -> None:
    start = b"HTTP/1.1 204 No\r\nX: "
    answer = start + b"1" * (16384 - len(start) - 4) + b"\r\n\r\n"
    with RawService(answer, answer.replace(b"X: ", b"X: 1")) as service:
        client = client_of(service.port)
        ask(client)
        with pytest.raises(BadAnswer):
            ask(client)


HALVES: list[list[Action]] = [
    [CLOSE],
    [RESET],
    [b"H", CLOSE],
    [b"HTTP/1.1 200 OK\r\n", CLOSE],
    [b"HTTP/1.1 200 OK\r\n", RESET],
    [b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE],
    [b"HTTP/1.1 200 OK\r\nX: 1\r\n", CLOSE],
    [b"HTTP/1.1 200 OK\r\nX: 1\r\n\r", CLOSE],
]


@pytest.mark.parametrize("answer", HALVES)
def test_half_an_answer_on_a_fresh_connection(answer: list[Action], client_of: Clients) -> None:
    with RawService(answer) as service:
        with pytest.raises(PeerGone) as caught:
            client_of(service.port).ask(REQUEST)

        assert caught.value.blame == "auth"
        assert len(service.requests) == 1


@pytest.mark.parametrize(
    "answer",
    [
        [head(b"X: 1", b"Content-Length: 5"), b"he", CLOSE],
        [head(b"X: 1", b"Content-Length: 5"), b"he", RESET],
        [head(b"X: 1", b"Transfer-Encoding: chunked"), b"5\r\nhello", CLOSE],
        [head(b"X: 1", b"Transfer-Encoding: chunked"), b"0\r\n", CLOSE],
    ],
)
def test_half_a_body_does_not_spoil_the_answer(answer: list[Action], client_of: Clients) -> None:
    with RawService(answer) as service:
        client = client_of(service.port)
        ask(client)

        assert ask(client).headers[b"x"] == [b"1"]

    assert service.connections == 2


def test_a_missing_body_delays_the_answer_only_briefly(
    client_of: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "BODY_TIME", 0.05)
    with RawService([head(b"X: 1", b"Content-Length: 5"), PATIENCE]) as service:
        client = client_of(service.port)
        began = time.monotonic()

        assert ask(client).headers[b"x"] == [b"1"]

    assert time.monotonic() - began < PATIENCE / 2


def test_a_connection_closed_while_idle_is_replaced(client_of: Clients) -> None:
    with RawService(EMPTY) as service:
        client = client_of(service.port)
        ask(client)
        service.hang_up()

        ask(client)

    assert (service.connections, len(service.requests)) == (2, 2)


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_a_connection_closed_at_the_question_is_replaced_once(end: str, client_of: Clients) -> None:
    with RawService(EMPTY, end, EMPTY, end, end) as service:
        client = client_of(service.port)
        ask(client)

        ask(client)

        assert (service.connections, len(service.requests)) == (2, 3)
        with pytest.raises(PeerGone):
            ask(client)
        assert (service.connections, len(service.requests)) == (3, 5)


def test_a_question_whose_answer_had_begun_is_not_asked_again(client_of: Clients) -> None:
    with RawService(EMPTY, [b"HTTP/1.1 2", CLOSE], EMPTY) as service:
        client = client_of(service.port)
        ask(client)

        with pytest.raises(PeerGone):
            ask(client)

    assert len(service.requests) == 2


@pytest.mark.parametrize("at_once", [True, False])
def test_an_unasked_answer_is_not_used(at_once: bool, client_of: Clients) -> None:
    forged = head(b"X: forged", start=b"HTTP/1.1 204 No Content")
    with RawService(EMPTY + forged if at_once else EMPTY, EMPTY) as service:
        client = client_of(service.port)
        ask(client)
        if not at_once:
            service.say(forged)

        assert ask(client).headers[b"x"] == [b"1"]

    assert service.connections == 2


def test_an_unasked_answer_is_not_used_under_tls(client_of: Clients, certificates: Certificates) -> None:
    forged = head(b"X: forged", start=b"HTTP/1.1 204 No Content")
    padded = head(b"X: 1", b"Content-Length: 0", b"Y: " + b"y" * 2000)
    with RawService(padded + forged, EMPTY, tls=certificates.server.server_context()) as service:
        client = client_of(service.port, _tls(certificates.ca.certificate))
        ask(client)

        assert ask(client).headers[b"x"] == [b"1"]

    assert service.connections == 2


def test_a_connection_that_ends_while_idle_is_closed(client_of: Clients) -> None:
    with RawService(EMPTY) as service:
        client = client_of(service.port)
        ask(client)
        assert client.pool.idle == 1
        service.hang_up()
        until(lambda: client.pool.idle == 0)


def test_a_connection_idle_for_too_long_is_not_used(
    client_of: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "IDLE_TIME", 0.02)
    with RawService(EMPTY) as service:
        client = client_of(service.port)
        ask(client)
        until_rested(client.pool)
        gevent.sleep(0.04)

        ask(client)

    assert service.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        [PATIENCE],
        [b"HTTP/1.1 200 OK\r\n", PATIENCE],
        [piece for _ in range(1000) for piece in (b"X: 1\r\n", 0.02)],
    ],
    ids=["silent", "half an answer", "a header now and then"],
)
def test_the_time_for_the_whole_answer_is_limited(answer: list[Action], client_of: Clients) -> None:
    with RawService(answer) as service:
        began = time.monotonic()
        with pytest.raises(PeerTimeout, match="the service timed out") as caught:
            client_of(service.port, seconds=0.1).ask(REQUEST)

    assert caught.value.blame == "auth"
    assert 0.09 < time.monotonic() - began < PATIENCE / 2


def test_a_service_that_is_not_there(client_of: Clients) -> None:
    with pytest.raises(ConnectionRefusedError):
        client_of(closed_port()).ask(REQUEST)


def _tls(ca: Path, name: str = "localhost") -> TlsSide:
    return TlsSide(make_client_context(ca=str(ca), verify=True), server=False, server_name=name)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_https_keeps_its_connection(client_of: Clients, certificates: Certificates, name: str) -> None:
    context = certificates.server.server_context()
    with RawService(REUSABLE["length"], tls=context) as service:
        client = client_of(service.port, _tls(certificates.ca.certificate, name))

        answers = [ask(client) for _ in range(3)]

    assert [answer.headers[b"x"] for answer in answers] == [[b"1"]] * 3
    assert service.connections == 1


@pytest.mark.parametrize("which", ["misnamed", "expired", "untrusted"])
def test_https_with_a_wrong_certificate_says_nothing(
    client_of: Clients, certificates: Certificates, which: str
) -> None:
    certificate: Certificate = getattr(certificates, which)
    with RawService(EMPTY, tls=certificate.server_context()) as service:
        with pytest.raises(TlsFailed):
            client_of(service.port, _tls(certificates.ca.certificate)).ask(REQUEST)

        assert service.requests == []


def test_https_to_a_service_that_speaks_http(client_of: Clients, certificates: Certificates) -> None:
    with RawService(EMPTY) as service, pytest.raises((TlsFailed, PeerTimeout)):
        client_of(service.port, _tls(certificates.ca.certificate), seconds=0.2).ask(REQUEST)
