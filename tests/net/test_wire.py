"""One connection: lines and their limits, bytes that were read ahead, the end, and what is left behind."""

import os
import socket
import time
from collections.abc import Callable

import gevent
import pytest

from geomail.errors import LineTooLong, PeerGone
from geomail.net.tls import TlsSide
from geomail.net.wire import DIALOGUE_READ, Wire
from tests.net.support import (
    PATIENCE,
    Peer,
    PlainPeer,
    TlsPeer,
    asked_of,
    raw,
    read_all,
    read_exactly,
    secured_pair,
    tcp_pair,
    wire_pair,
    within,
)
from tests.servers.certificates import Certificates


@pytest.fixture(params=["plain", "tls"])
def pair(request: pytest.FixtureRequest) -> tuple[Wire, Peer]:
    """A client's wire and the client, without TLS and with it."""
    if request.param == "plain":
        return wire_pair()
    certificates: Certificates = request.getfixturevalue("certificates")
    return secured_pair(request.getfixturevalue("server_side"), certificates.client_context())


def say(peer: Peer, data: bytes, step: int) -> None:
    for start in range(0, len(data), step):
        peer.sendall(data[start : start + step])
        gevent.sleep(0.0005)


# -- lines ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "limit", "line"),
    [
        pytest.param(b"abc\r\n", 5, b"abc", id="exactly the limit"),
        pytest.param(b"abcd\n", 5, b"abcd", id="exactly the limit, LF only"),
        pytest.param(b"abcd\r\n", 5, None, id="one more"),
        pytest.param(b"abcde\n", 5, None, id="one more, LF only"),
        pytest.param(b"abcdefghij\r\n", 5, None, id="far more, its end already here"),
        pytest.param(b"a\nb\r\n", 5, b"a", id="LF only"),
        pytest.param(b"a\rb\r\n", 9, b"a\rb", id="CR elsewhere stays"),
        pytest.param(b"a\r\r\n", 9, b"a\r", id="only one CR belongs to the end"),
        pytest.param(b"\r\n", 2, b"", id="empty"),
        pytest.param(b"\n", 1, b"", id="empty, LF only"),
        pytest.param(b"a\0b\xff\r\n", 9, b"a\0b\xff", id="any byte"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False], ids=["one segment", "byte by byte"])
def test_lines(sent: bytes, limit: int, line: bytes | None, at_once: bool) -> None:
    wire, peer = wire_pair()
    talking = gevent.spawn(say, peer, sent, len(sent) if at_once else 1)

    if line is not None:
        assert wire.read_line(limit) == line
    else:
        with pytest.raises(LineTooLong) as raised:
            wire.read_line(limit)
        assert raised.value.start[:limit] == sent[:limit]
        assert raised.value.blame == "client"

    talking.join()
    wire.close()
    peer.close()


def test_a_line_is_too_long_before_its_end_is_seen() -> None:
    wire, peer = wire_pair()
    peer.sendall(b"abcde")

    with pytest.raises(LineTooLong):
        within(lambda: wire.read_line(5))

    wire.close()
    peer.close()


def test_the_limit_is_for_each_line_not_for_the_pipeline(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    lines = [b"NOOP %04d" % number for number in range(2000)]
    talking = gevent.spawn(peer.sendall, b"".join(line + b"\r\n" for line in lines))

    assert [wire.read_line(11) for _ in lines] == lines

    talking.join()
    wire.close()
    peer.close()


def test_an_endless_line_is_read_no_further_than_its_limit(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    talking = gevent.spawn(peer.sendall, b"x" * 10_000_000)

    with pytest.raises(LineTooLong):
        wire.read_line(1000)

    assert wire.received <= 1000 + DIALOGUE_READ
    talking.kill()
    wire.close()
    peer.close()


def test_a_literal_and_the_line_behind_it(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    talking = gevent.spawn(say, peer, b"a {9000}\r\n" + b"x" * 9000 + b" tail\r\n", 3000)

    assert wire.read_line(100) == b"a {9000}"
    assert wire.read_exactly(0) == b""
    assert wire.read_exactly(9000) == b"x" * 9000
    assert wire.read_line(100) == b" tail"

    talking.join()
    wire.close()
    peer.close()


def test_a_whole_line_counts_though_the_end_came_with_it_and_half_a_line_does_not(
    pair: tuple[Wire, Peer],
) -> None:
    wire, peer = pair
    peer.sendall(b"whole\r\nhalf")
    peer.close()

    assert wire.read_line(100) == b"whole"
    with pytest.raises(PeerGone) as raised:
        wire.read_line(100)
    assert raised.value.blame == "client"
    with pytest.raises(PeerGone):
        wire.read_exactly(100)
    wire.close()


def test_a_reset_is_named() -> None:
    wire, peer = wire_pair("backend")
    peer.reset()

    with pytest.raises(PeerGone, match=r"reset by peer \(ECONNRESET\)") as raised:
        wire.read_line(100)
    assert raised.value.blame == "backend"
    wire.close()


def test_sending_to_a_peer_that_has_gone(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    peer.reset()

    with pytest.raises(PeerGone) as raised:
        for _ in range(2):
            wire.send(b"anybody there?")
    assert raised.value.blame == "client"
    wire.end_sending()
    wire.close()


# -- bytes ----------------------------------------------------------------------------------------


def test_bytes_that_a_dialogue_read_ahead_are_received_first(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    peer.sendall(b"line\r\n" + b"0123456789")
    assert wire.read_line(100) == b"line"
    peer.sendall(b"more")
    peer.close()

    assert [wire.receive(size) for size in (4, 4, 100, 100, 100, 100)] == [
        b"0123",
        b"4567",
        b"89",
        b"more",
        b"",
        b"",
    ]
    wire.close()


def test_counts_are_of_the_application(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    peer.sendall(b"line\r\nrest")
    wire.read_line(100)
    wire.receive(2)
    wire.send(b"reply")
    wire.send_line(b"one more")

    assert (wire.received, wire.sent) == (10, 15)
    wire.receive(100)
    peer.sendall(b"more")
    wire.receive(100)
    assert wire.received == 14

    wire.close()
    peer.close()


def test_no_read_is_larger_than_was_asked_for() -> None:
    near, far = tcp_pair()
    wire = Wire(raw(near), "client")
    asked = asked_of(wire)
    far.sendall(b"x" * 100)

    assert [len(wire.receive(7)), len(wire.receive(70))] == [7, 70]

    assert asked == [7, 70]
    wire.close()
    far.close()


def test_a_send_that_has_to_wait_delivers_everything_and_says_when_it_went_on(
    pair: tuple[Wire, Peer],
) -> None:
    wire, peer = pair
    data = bytes(range(256)) * 60_000
    wire.send(b"")
    wire.send(b"x")
    assert (wire.resumed_at, wire.sent) == (0, 1)
    reading = gevent.spawn(read_all, peer)
    began = time.monotonic()

    wire.send(data)
    wire.end_sending()

    assert began < wire.resumed_at <= time.monotonic()
    assert reading.get() == b"x" + data
    wire.close()
    peer.close()


# -- an idle connection ---------------------------------------------------------------------------


def _nothing(_peer: Peer) -> None: ...


def _bytes(peer: Peer) -> None:
    peer.sendall(_WORDS)


_WORDS = b"HTTP/1.1 408 Too Slow\r\n"


@pytest.mark.parametrize(
    ("happened", "there"),
    [
        pytest.param(_nothing, None, id="nothing"),
        pytest.param(_bytes, _WORDS, id="bytes"),
        pytest.param(PlainPeer.end_sending, b"", id="its end"),
        pytest.param(PlainPeer.reset, b"", id="a reset"),
    ],
)
def test_looking_ahead(happened: Callable[[PlainPeer], None], there: bytes | None) -> None:
    wire, peer = wire_pair("auth")
    happened(peer)

    assert wire.look_ahead() == there
    assert wire.look_ahead() == there

    wire.close()
    peer.close()


def test_bytes_that_were_looked_at_are_read_later_and_counted_once() -> None:
    wire, peer = wire_pair()
    peer.sendall(b"one\r\ntwo\r\n")

    assert wire.look_ahead() == b"one\r\ntwo\r\n"
    assert [wire.read_line(100), wire.read_line(100)] == [b"one", b"two"]
    assert (wire.look_ahead(), wire.received) == (None, 10)

    wire.close()
    peer.close()


def test_looking_ahead_on_a_closed_connection_sees_its_end() -> None:
    wire, peer = wire_pair()
    wire.close()

    assert wire.look_ahead() == b""

    peer.close()


@pytest.mark.parametrize("happened", [_bytes, PlainPeer.end_sending])
def test_bytes_that_no_greenlet_reads_keep_none_busy(happened: Callable[[PlainPeer], None]) -> None:
    wire, peer = wire_pair()
    peer.sendall(b"one\r\n")
    wire.read_line(100)
    happened(peer)
    rounds = 0

    def count() -> None:
        nonlocal rounds
        rounds += 1

    watcher = gevent.get_hub().loop.check()
    watcher.start(count)
    gevent.sleep(0.05)
    watcher.close()

    assert 0 < rounds < 10
    wire.close()
    peer.close()


def test_looking_ahead_at_what_was_read_ahead() -> None:
    wire, peer = wire_pair("auth")
    peer.sendall(b"one\r\ntwo\r\n")
    wire.read_line(100)

    assert wire.look_ahead() == b"two\r\n"

    wire.close()
    peer.close()


def _broken_record(peer: Peer) -> None:
    assert isinstance(peer, TlsPeer)
    peer.sock.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)


@pytest.mark.parametrize(
    ("happened", "there"),
    [
        pytest.param(_nothing, None, id="only session tickets"),
        pytest.param(_bytes, _WORDS, id="bytes"),
        pytest.param(TlsPeer.end_sending, b"", id="a close_notify"),
        pytest.param(TlsPeer.close, b"", id="its end"),
        pytest.param(_broken_record, b"", id="a broken record"),
    ],
)
def test_looking_ahead_under_tls(
    happened: Callable[[Peer], None], there: bytes | None, client_side: TlsSide, certificates: Certificates
) -> None:
    wire, peer = secured_pair(client_side, certificates.server.server_context(), "auth")
    happened(peer)

    assert wire.look_ahead() == there

    wire.close()
    peer.close()


def test_looking_ahead_at_the_rest_of_the_record_that_was_read_last(
    client_side: TlsSide, certificates: Certificates
) -> None:
    wire, peer = secured_pair(client_side, certificates.server.server_context(), "auth")
    peer.sendall(b"x" * DIALOGUE_READ + b"an answer to the next question")
    wire.read_exactly(DIALOGUE_READ)

    assert wire.look_ahead() == b"an answer to the next question"

    wire.close()
    peer.close()


# -- the end --------------------------------------------------------------------------------------


def test_reading_goes_on_after_end_sending(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    wire.send(b"last words")
    wire.end_sending()

    assert read_all(peer) == b"last words"
    peer.sendall(b"an answer")
    assert wire.receive(100) == b"an answer"
    peer.end_sending()
    assert within(lambda: wire.receive(100)) == b""

    wire.end_sending()
    wire.close()
    peer.close()


@pytest.mark.parametrize("unread", [0, 10, 40_000])
def test_a_client_sees_the_last_words_though_we_did_not_read_all_of_its_own(
    unread: int, pair: tuple[Wire, Peer]
) -> None:
    wire, peer = pair
    peer.sendall(b"QUIT\r\n" + b"x" * unread)
    assert wire.read_line(100) == b"QUIT"
    gevent.sleep(0.01)
    wire.send_line(b"221 Bye")
    wire.close()

    assert read_all(peer) == b"221 Bye\r\n"
    peer.close()


def test_closing_does_not_cut_off_what_a_slow_client_has_yet_to_read(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    peer.sendall(b"unread")
    gevent.sleep(0.01)
    sent = _fill(wire.fileno())
    wire.close()  # not even a close_notify could be sent now

    received = 0
    while piece := peer.sock.recv(65536):  # raises ConnectionResetError if it was cut off
        received += len(piece)
    assert received == sent
    peer.close()


def _fill(fd: int) -> int:
    """Send until there is no room for one more byte; return the number of bytes."""
    sent = 0
    while True:
        try:
            sent += os.write(fd, b"x" * 10_000)
        except BlockingIOError:
            return sent


def test_closing_does_not_wait(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    sending = gevent.spawn(wire.send, b"x" * 20_000_000)
    gevent.sleep(0.05)
    sending.kill()

    began = time.monotonic()
    wire.close()
    wire.close()

    assert time.monotonic() - began < PATIENCE
    assert wire.fileno() == -1
    peer.close()


def test_a_waiting_greenlet_can_be_killed(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    reading = gevent.spawn(wire.read_line, 100)
    gevent.sleep(0.01)
    reading.kill()
    peer.sendall(b"still usable\r\n")
    assert wire.read_line(100) == b"still usable"

    fd = wire.fileno()
    wire.close()

    assert read_all(peer) == b""
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    peer.close()


def test_a_waiting_greenlet_that_is_hung_up_on_gets_nothing_and_the_connection_stays_open(
    pair: tuple[Wire, Peer],
) -> None:
    wire, peer = pair
    reader = gevent.spawn(wire.receive, 100)
    gevent.sleep(0.01)
    wire.hang_up()
    assert reader.get(timeout=PATIENCE) == b""
    wire.send(b"still here")
    assert read_exactly(peer, 10) == b"still here"
    peer.sendall(b"so am I")
    assert within(lambda: wire.receive(100)) == b"so am I"
    wire.hang_up()  # no greenlet waits
    wire.close()
    peer.close()


def test_one_greenlet_reads_while_another_one_writes(pair: tuple[Wire, Peer]) -> None:
    wire, peer = pair
    data = os.urandom(65536) * 64
    sending = gevent.spawn(wire.send, data)
    talking = gevent.spawn(peer.sendall, data)
    listening = gevent.spawn(read_exactly, peer, len(data))

    assert wire.read_exactly(len(data)) == data
    assert listening.get() == data

    sending.get()
    talking.get()
    wire.close()
    peer.close()


def test_a_unix_socket_is_a_wire_too() -> None:
    near, far = socket.socketpair()
    wire = Wire(raw(near), "client")
    far.sendall(b"hello\r\n")

    assert wire.read_line(100) == b"hello"

    wire.close()
    far.close()
