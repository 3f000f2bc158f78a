"""``kick``: it ends only the selected sessions, with a goodbye where that disturbs nothing."""

import base64
import socket
import time
from collections.abc import Callable

import pytest

from tests.console.support import PROTOCOLS, Asker, Running, eventually
from tests.together import together

GOODBYES = {"imap": b"* BYE ", "pop3": b"-ERR ", "smtp": b"421 4.3.2 "}
#: More seconds than the silence after which geomail speaks into a relay.
SILENCE = 1.2


def rest(sock: socket.socket) -> bytes:
    """Read everything up to the end of the connection."""
    pieces = []
    while piece := sock.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def own_session(asker: Asker, sock: socket.socket) -> str:
    """Return the id of the session of this connection."""
    port = sock.getsockname()[1]
    [session] = [one for one in asker.sessions() if one["client_port"] == port]
    return str(session["session"])


def talking(shared: Running, user: str) -> socket.socket:
    """Log in an IMAP client, and read the answer."""
    sock = shared.connect("imap")
    sock.sendall(b"a LOGIN %b secret\r\n" % user.encode())
    assert sock.recv(1000) == b"a OK in\r\n"
    return sock


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_before_the_login_there_is_a_goodbye(protocol: str, shared: Running, asker: Asker) -> None:
    sock = shared.connect(protocol)
    [kicked] = asker.sessions("kick", session=own_session(asker, sock))
    assert kicked["client_port"] == sock.getsockname()[1]
    said = rest(sock)
    assert said.startswith(GOODBYES[protocol])
    assert said.count(b"\r\n") == 1


def test_a_silent_relay_is_spoken_into(shared: Running, asker: Asker) -> None:
    clients = {protocol: shared.client(protocol, f"silent-{protocol}@example.test") for protocol in PROTOCOLS}
    time.sleep(SILENCE)
    for protocol, client in clients.items():
        assert client.sock is not None
        assert len(asker.sessions("kick", user=f"silent-{protocol}@*")) == 1
        said = rest(client.sock)
        assert said.startswith(GOODBYES[protocol])
        assert said.count(b"\r\n") == 1


def half_a_line_down(sock: socket.socket) -> bytes:
    sock.sendall(b"b SAY %b\r\n" % base64.b64encode(b"* half"))
    return sock.recv(1000)


def half_a_line_up(sock: socket.socket) -> bytes:
    sock.sendall(b"b NOO")
    return b""


def a_line_just_now(sock: socket.socket) -> bytes:
    time.sleep(SILENCE)
    sock.sendall(b"b HEAR\r\n")
    time.sleep(0.2)
    return b""


def a_line_just_now_down(sock: socket.socket) -> bytes:
    time.sleep(SILENCE)
    sock.sendall(b"b NOOP\r\n")
    return sock.recv(1000)


def test_a_relay_that_is_not_at_rest_is_just_closed(shared: Running) -> None:
    def is_closed(disturbed: Callable[[socket.socket], bytes], silence: float) -> None:
        user = f"{disturbed.__name__}@example.test"
        with shared.asker() as asker:
            sock = talking(shared, user)
            disturbed(sock)
            time.sleep(silence)
            assert len(asker.sessions("kick", user=user)) == 1
            assert rest(sock) == b""

    together(
        is_closed,
        [
            (half_a_line_down, SILENCE),
            (half_a_line_up, SILENCE),
            (a_line_just_now, 0),
            (a_line_just_now_down, 0),
        ],
    )


def test_a_relay_whose_client_does_not_read_is_just_closed(own: Running) -> None:
    # The buffer has the size of a line, so each relayed piece ends with a line.
    own.file.write_text(own.file.read_text().replace("[mail]\n", '[mail]\nproxy_buffer = "4k"\n'))
    with own.asker() as asker:
        asker.done("reload")
        sock = own.connect("imap")
        sock.sendall(b"a LOGIN deaf@example.test secret\r\n")
        eventually(lambda: asker.sessions(user="deaf@*", protocol="imap"))
        sock.sendall(b"b MUCH 20000000\r\n")
        time.sleep(SILENCE)
        assert len(asker.sessions("kick", user="deaf@*")) == 1
        eventually(
            lambda: not asker.sessions(user="deaf@*"), 4
        )  # sooner than a goodbye that the client does not read
        assert b"BYE" not in rest(sock), "it would stand in the middle of something"


def test_only_those_who_are_meant_end_and_their_backends_hear_it(shared: Running, asker: Asker) -> None:
    meant = [talking(shared, f"kick{number}@example.test") for number in range(5)]
    others = [talking(shared, f"stay{number}@example.test") for number in range(5)]
    asker.tail(events=["session.closed"])
    with shared.asker() as kicker:
        kicked = kicker.sessions("kick", user="kick?@example.test")
    assert {session["user"] for session in kicked} == {f"kick{number}@example.test" for number in range(5)}
    for sock in meant:
        assert rest(sock) == b""
    closed = [asker.next() for _ in meant]
    assert {record["user"] for record in closed} == {session["user"] for session in kicked}
    assert {(record["outcome"], record["side"]) for record in closed} == {("kicked", "geomail")}
    for sock in others:
        sock.sendall(b"c NOOP\r\n")
        assert sock.recv(100) == b"c OK done\r\n"


def test_everybody_is_meant_only_by_an_empty_selection(own: Running) -> None:
    with own.asker() as asker:
        socks = [own.connect("imap"), talking(own, "all@example.test")]
        assert len(asker.sessions("kick", user="nobody@*")) == 0
        assert len(asker.sessions()) == 2
        assert len(asker.sessions("kick")) == 2
        assert [rest(sock)[:6] for sock in socks] == [b"* BYE ", b""]


def test_to_kick_twice_is_not_an_error(shared: Running, asker: Asker) -> None:
    sock = shared.connect("smtp")
    one = own_session(asker, sock)
    with shared.asker() as other:
        asker.send("kick", select={"session": one})
        other.send("kick", select={"session": one})
        assert "Traceback" not in shared.server.log.text
    assert rest(sock).count(b"421 ") == 1


def test_the_log_tells_who_was_kicked(shared: Running, asker: Asker) -> None:
    talking(shared, "logged@example.test")
    asker.sessions("kick", user="logged@*")
    line = shared.server.log.wait_for(r".* session kicked .*user=logged@example.test.*")
    assert "kicked by an operator" in line[0]


def test_when_the_server_stops_clients_are_told_goodbye_in_the_same_way(own: Running) -> None:
    before = {protocol: own.connect(protocol) for protocol in PROTOCOLS}
    at_rest = {protocol: own.client(protocol, "rest@example.test").sock for protocol in PROTOCOLS}
    busy = talking(own, "busy@example.test")
    half_a_line_down(busy)
    time.sleep(SILENCE)
    own.server.process.terminate()
    for protocol, goodbye in GOODBYES.items():
        sock = at_rest[protocol]
        assert sock is not None
        assert rest(before[protocol]).startswith(goodbye)
        assert rest(sock).startswith(goodbye)
    assert rest(busy) == b""
