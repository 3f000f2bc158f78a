"""Connections to a service that are used again: how many, when, and never with unasked bytes."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.pool import Group
from gevent.server import StreamServer

from geomail.errors import PeerTimeout
from geomail.net import pool
from geomail.net.http import HttpClient
from geomail.net.pool import Pool
from tests.net.raw_service import Action, RawService, until_rested

ANSWER = b"HTTP/1.1 204 No Content\r\nX: %b\r\n\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Fixture:
    """Clients with a pool each; ``unasked`` holds the reports of their pools."""

    def __init__(self) -> None:
        self.made: list[HttpClient] = []
        self.unasked: list[bool] = []

    def __call__(self, port: int, most: int = 256, seconds: float = 5.0, keeps: bool = True) -> HttpClient:
        client = HttpClient(
            pool=Pool(most, self.unasked.append),
            addresses=lambda: [(socket.AF_INET, ("127.0.0.1", port))],
            tls=None,
            peer="auth",
            seconds=seconds,
            timed_out="timed out",
            crowded="no place",
            keeps=keeps,
        )
        self.made.append(client)
        return client


@pytest.fixture
def client_of() -> Iterator[Fixture]:
    fixture = Fixture()
    yield fixture
    for client in fixture.made:
        client.close()


def until(condition: Callable[[], object]) -> None:
    """Wait for the event; the test's own limit ends the wait."""
    with gevent.Timeout(10.0):
        while not condition():
            gevent.sleep(0.002)


# -- a service that sends unasked bytes -----------------------------------------------------------


class TwoFaced:
    """Answers each question with its user's name, in ``X``; and, behind every n-th answer, says more.

    ``more`` makes that of the name, ``delay`` is how late it comes.
    """

    def __init__(self, more: Callable[[bytes], bytes], delay: float, every: int) -> None:
        self._more = more
        self._delay = delay
        self._questions = itertools.count(1)
        self._every = every
        self._later = Group()
        self._server = StreamServer(("127.0.0.1", 0), self._serve)

    def __enter__(self) -> int:
        self._server.start()
        port = self._server.server_port
        assert port is not None
        return port

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._later.kill()

    def _serve(self, sock: Any, _address: object) -> None:
        with sock, sock.makefile("rb") as stream:
            while line := stream.readline():
                user = line.split()[1]
                while stream.readline().strip():
                    pass
                more = self._more(user) if next(self._questions) % self._every == 0 else b""
                if self._delay:
                    sock.sendall(ANSWER % user)
                    if more:
                        self._later.add(gevent.spawn_later(self._delay, _send, sock, more))
                else:
                    sock.sendall(ANSWER % user + more)


def _send(sock: Any, data: bytes) -> None:
    try:
        sock.sendall(data)
    except OSError:
        pass  # the client has gone


def _again(user: bytes) -> bytes:
    return ANSWER % user


def _padded(user: bytes) -> bytes:
    return ANSWER % (user + b"\r\nY: " + b"y" * 2000)


SURPLUS: dict[str, Callable[[bytes], bytes]] = {
    "a second answer": _again,
    "a long second answer": _padded,
    "a body that was not announced": lambda user: b"<p>" + user,
    "a body that looks like headers": lambda user: b"X: " + user + b"\r\n\r\n",
    "two line ends": lambda _user: b"\r\n\r\n",
    "an interim answer": lambda user: b"HTTP/1.1 100 Continue\r\n\r\n" + ANSWER % user,
    "goodbye": lambda user: b"HTTP/1.1 408 Slow\r\nConnection: close\r\nX: " + user + b"\r\n\r\n",
}
DELAYS = (0.0, 0.0002, 0.001, 0.005, 0.02, 0.05)


def logins(client: HttpClient, count: int, users: int) -> list[tuple[bytes, bytes | None]]:
    """Ask for so many users at a time, ``count`` times in all; return those with another user's answer."""
    numbers = iter(range(count))
    wrong = []

    def log_in() -> None:
        for number in numbers:
            user = b"u%d" % number
            heard = client.ask(b"GET " + user + b" HTTP/1.1\r\nHost: a\r\n\r\n").last(b"x")
            if heard != user:
                wrong.append((user, heard))
            gevent.sleep(0.0005 * (number % 7))

    gevent.joinall([gevent.spawn(log_in) for _ in range(users)], raise_error=True)
    return wrong


@pytest.mark.parametrize("every", [1, 13, 350])
@pytest.mark.parametrize("delay", DELAYS)
def test_no_answer_reaches_another_user_in_ten_thousand_logins(
    delay: float, every: int, client_of: Fixture
) -> None:
    with TwoFaced(_again, delay, every) as port:
        client = client_of(port, most=1000)
        assert logins(client, count=10_000 // len(DELAYS) // 3 + 1, users=20) == []
        until(lambda: client_of.unasked)

    assert client_of.unasked[0] is True
    assert not any(client_of.unasked[1:]), "it is told once"


@pytest.mark.parametrize("delay", [0.0, 0.03])
@pytest.mark.parametrize("surplus", SURPLUS.values(), ids=SURPLUS.keys())
def test_unasked_bytes_are_no_users_answer(
    surplus: Callable[[bytes], bytes], delay: float, client_of: Fixture
) -> None:
    with TwoFaced(surplus, delay, every=9) as port:
        client = client_of(port)
        assert logins(client, count=40, users=3) == []
        until(lambda: client_of.unasked)

        assert (client.pool.keeps, client.pool.idle) == (False, 0)


#: Bytes on a used connection, after a rest in which it was silent; none of them may count as an answer.
LATE = {
    "no status line": [b"X: forged\r\n\r\n"],
    "the end of a body": [b"</p>\r\nX: forged\r\n\r\n"],
    "two answers": [ANSWER % b"forged" + ANSWER % b"1"],
    "two answers, the first with a body": [
        b"HTTP/1.1 200 OK\r\nX: forged\r\nContent-Length: 2\r\n\r\nab" + ANSWER % b"1"
    ],
    "two answers, the first of them the last": [
        b"HTTP/1.1 200 OK\r\nX: forged\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" + ANSWER % b"1"
    ],
    "an interim answer, and no status line": [b"HTTP/1.1 100 Continue\r\n\r\nX: forged\r\n\r\n"],
}


@pytest.mark.parametrize("late", LATE.values(), ids=LATE.keys())
def test_a_question_with_a_doubtful_answer_is_asked_again(late: list[Action], client_of: Fixture) -> None:
    with RawService(ANSWER % b"1", late, ANSWER % b"2") as service:
        client = client_of(service.port)
        client.ask(REQUEST)
        until_rested(client.pool)

        assert client.ask(REQUEST).last(b"x") == b"2"

    assert (service.connections, len(service.requests)) == (2, 3)
    assert client_of.unasked == [True]


def test_after_unasked_bytes_questions_on_used_connections_are_asked_again(
    client_of: Fixture,
) -> None:
    slow: list[Action] = [0.1, ANSWER % b"forged"]
    with RawService([0.02, ANSWER % b"1"], [0.02, ANSWER % b"1"], slow, ANSWER % b"2") as service:
        client = client_of(service.port)
        gevent.joinall([gevent.spawn(client.ask, REQUEST) for _ in range(2)], raise_error=True)
        until_rested(client.pool)
        asking = gevent.spawn(client.ask, REQUEST)
        until(lambda: len(service.requests) == 3)
        _send(service._open[2 - service.served[-1]], b"what?")  # on the other one of the two

        assert asking.get().last(b"x") == b"2"

    assert client_of.unasked[0] is True


def test_a_first_answer_counts_even_if_bytes_follow(client_of: Fixture) -> None:
    with RawService([ANSWER % b"1" + ANSWER % b"forged"]) as service:
        client = client_of(service.port)

        assert [client.ask(REQUEST).last(b"x") for _ in range(3)] == [b"1"] * 3

    assert (service.connections, client_of.unasked[0]) == (3, True)


def test_an_idle_connection_may_end(client_of: Fixture) -> None:
    with RawService(ANSWER % b"1") as service:
        client = client_of(service.port)
        client.ask(REQUEST)
        service.hang_up()
        until(lambda: client.pool.idle == 0)

    assert client_of.unasked == []


# -- the rest -------------------------------------------------------------------------------------


def test_a_rest_lasts_its_time(client_of: Fixture) -> None:
    with RawService(ANSWER % b"1") as service:
        client = client_of(service.port)
        for _ in range(3):
            gevent.sleep(pool.LOOK * 0.9)  # as the timer runs already, the next check is near
            client.ask(REQUEST)
            began = time.monotonic()
            until(lambda: client.pool.ready)
            assert time.monotonic() - began >= pool.LOOK * (pool.LOOKS - 1) * 0.99
            until_rested(client.pool)


def test_a_connection_rests_before_it_is_used_again(client_of: Fixture) -> None:
    with RawService(ANSWER % b"1") as service:
        client = client_of(service.port)
        for _ in range(3):
            client.ask(REQUEST)
        assert (service.connections, client.pool.idle, client.pool.ready) == (3, 3, 0)
        until_rested(client.pool)
        for _ in range(3):
            client.ask(REQUEST)

    assert (service.connections, len(set(service.served[3:]))) == (3, 3)


def test_the_rested_connection_that_was_used_last_is_used_next(
    client_of: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LOOK", 0.0005)
    with RawService([0.01, ANSWER % b"1"]) as service:
        client = client_of(service.port)
        gevent.joinall([gevent.spawn(client.ask, REQUEST) for _ in range(3)], raise_error=True)
        for _ in range(3):
            until_rested(client.pool)
            client.ask(REQUEST)

    assert service.connections == 3
    assert len(set(service.served[3:])) == 1


def test_connections_that_are_not_needed_are_closed(
    client_of: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LOOK", 0.0005)
    monkeypatch.setattr(pool, "IDLE_TIME", 0.05)
    with RawService([0.01, ANSWER % b"1"]) as service:
        client = client_of(service.port)
        gevent.joinall([gevent.spawn(client.ask, REQUEST) for _ in range(5)], raise_error=True)
        assert client.pool.idle == 5

        def one_is_left() -> bool:
            client.ask(REQUEST)
            return client.pool.idle <= 2

        until(one_is_left)


def test_a_client_without_keeps_closes_its_connections(client_of: Fixture) -> None:
    with RawService(ANSWER % b"1") as service:
        client = client_of(service.port, keeps=False)
        for _ in range(2):
            client.ask(REQUEST)
        assert client.pool.idle == 0

    assert service.connections == 2


# -- how many -------------------------------------------------------------------------------------


def test_connections_are_bounded_and_waiting_questions_go_in_order(client_of: Fixture) -> None:
    served: list[int] = []
    most_asked: list[int] = []
    with RawService([0.005, ANSWER % b"1"]) as service:
        client = client_of(service.port, most=2)

        def ask(number: int) -> None:
            client.ask(REQUEST)
            served.append(number)  # together with the next line, no other greenlet comes between
            most_asked.append(len(service.requests) - len(served) + 1)

        gevent.joinall([gevent.spawn(ask, number) for number in range(20)], raise_error=True)

    assert max(most_asked) == 2
    assert [number // 2 for number in served] == [number // 2 for number in range(20)]


def test_resting_connections_count_too(client_of: Fixture) -> None:
    with RawService(ANSWER % b"1") as service:
        client = client_of(service.port, most=3)
        for _ in range(10):
            client.ask(REQUEST)
            assert client.pool.idle <= 3

    assert service.connections == 10


def test_waiting_for_a_place_is_inside_the_time_for_the_answer(client_of: Fixture) -> None:
    with RawService([60.0]) as service:
        client = client_of(service.port, most=1, seconds=0.1)
        first, second = (gevent.spawn(client.ask, REQUEST) for _ in range(2))
        gevent.joinall([first, second])

    assert isinstance(first.exception, PeerTimeout)
    assert str(first.exception) == "timed out"
    assert isinstance(second.exception, PeerTimeout)
    assert str(second.exception) in ("no place", "timed out")


def test_every_end_of_a_question_frees_its_place(client_of: Fixture) -> None:
    with RawService([60.0], [60.0], ANSWER % b"1") as service:
        client = client_of(service.port, most=1)
        first, second, third = (gevent.spawn(client.ask, REQUEST) for _ in range(3))
        until(lambda: service.requests)
        second.kill()
        first.kill()

        until(lambda: len(service.requests) == 2)
        third.kill()

        assert client.ask(REQUEST).last(b"x") == b"1"


def test_the_place_of_a_greenlet_that_has_just_left_goes_to_the_next(client_of: Fixture) -> None:
    client = client_of(1, most=1)
    client.pool.enter(1.0, "auth", "no place")
    leaver, last = (gevent.spawn(client.pool.enter, 5.0, "auth", "no place") for _ in range(2))
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(leaver.throw, gevent.GreenletExit)  # it runs before the leaver wakes
    client.pool.leave()

    assert last.get(timeout=2.0) > 0
