"""The times that nginx and geomail wait, and their last words afterwards."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from tests.servers.support import LOOPBACK
from tests.together import together
from tests.twin.conftest import Proxies, Recorders
from tests.twin.proxies import NAMES, Name, Way
from tests.twin.recorders import BackendRecorder
from tests.twin.ways import BUSY, HASTY, NAMELESS, OFFERS_TLS, SILENT_AUTH

PATIENCE = 8.0


class Talk:
    """A client, and the time since it connected."""

    def __init__(self, sock: socket.socket) -> None:
        self._stream: Any = sock.makefile("rwb")
        self._began = time.monotonic()

    def say(self, line: str) -> None:
        self._stream.write(line.encode() + b"\r\n")
        self._stream.flush()

    def receive(self) -> bytes:
        try:
            line: bytes = self._stream.readline()
        except ConnectionError:
            return b""
        return line

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def close(self) -> None:
        self._stream.close()


@contextmanager
def talking(name: Name, way: Way, proxies: Proxies) -> Iterator[Talk]:
    with ExitStack() as opened:
        sock = opened.enter_context(socket.create_connection((LOOPBACK, proxies(name).ports[way]), PATIENCE))
        talk = Talk(sock)
        opened.callback(talk.close)
        talk.receive()
        yield talk


def admitted(backend: BackendRecorder) -> list[list[str]]:
    return [["Auth-Status: OK", f"Auth-Server: {LOOPBACK}", f"Auth-Port: {backend.port}"]]


def test_commands_buy_no_time(proxies: Proxies) -> None:
    def go_on(name: Name) -> None:
        answers = []
        with talking(name, HASTY, proxies) as talk:
            while talk.seconds < PATIENCE:
                try:
                    talk.say("NOOP")
                except OSError:
                    break
                if not (answer := talk.receive()):
                    break
                answers.append(answer)
                time.sleep(0.15)

            assert 0.6 < talk.seconds < PATIENCE
        assert set(answers) == {b"250 2.0.0 OK\r\n"}

    together(go_on, NAMES)


def test_a_silent_auth_service(proxies: Proxies, recorders: Recorders) -> None:
    """Show that nginx's words make a client ask its user for a new password."""
    answers = {
        "nginx": (b"* BAD internal server error\r\n", b""),
        "geomail": (b"a NO [UNAVAILABLE] Temporary authentication failure\r\n", b"* BYE [UNAVAILABLE] "),
    }

    def asks(name: Name) -> None:
        recorders[name][0].tell([])
        answer, goodbye = answers[name]
        with talking(name, SILENT_AUTH, proxies) as talk:
            talk.say("a LOGIN u p")

            assert talk.receive() == answer
            assert talk.receive().startswith(goodbye)
            assert talk.receive() == b""

    together(asks, NAMES)


def test_a_silent_backend(proxies: Proxies, recorders: Recorders) -> None:
    answers = {
        "nginx": b"451 4.3.2 Internal server error\r\n",
        "geomail": b"454 4.7.0 Temporary authentication failure\r\n",
    }

    def waits(name: Name) -> None:
        auth, backend = recorders[name]
        auth.tell(admitted(backend))
        backend.tell([])
        with talking(name, HASTY, proxies) as talk:
            talk.say("AUTH PLAIN AHUAcA==")

            assert [talk.receive(), talk.receive()] == [answers[name], b""]
            assert 0.6 < talk.seconds < PATIENCE

    together(waits, NAMES)


def test_a_backend_that_goes_on_talking(proxies: Proxies, recorders: Recorders) -> None:
    """Show that nginx watches only the client, and ends a session in which only the backend sends."""
    lines = 7
    script = ["<* OK", ">", "<+ go on", ">", "<+ go on", ">", "<a OK in"]

    def listens(name: Name) -> None:
        auth, backend = recorders[name]
        auth.tell(admitted(backend))
        backend.tell([*script, *lines * ["~0.3", "<* 1 EXISTS"], "~0.3"])
        with talking(name, BUSY, proxies) as talk:
            talk.say("a LOGIN u p")
            received = []
            while line := talk.receive():
                received.append(line)
                if len(received) == 1 + lines:
                    break
        assert received[0] == b"a OK in\r\n"
        assert (len(received) == 1 + lines) is (name == "geomail")

    together(listens, NAMES)


def test_a_client_whose_name_is_looked_up_for_longer_than_a_login_may_take(proxies: Proxies) -> None:
    """Show that nginx keeps the time limit of the PROXY header: the greeting comes, but no answer."""
    together(partial(_is_looked_up, proxies), [("nginx", False), ("geomail", True)])


def _is_looked_up(proxies: Proxies, name: Name, served: bool) -> None:
    with ExitStack() as opened:
        port = proxies(name).ports[NAMELESS]
        sock = opened.enter_context(socket.create_connection((LOOPBACK, port), PATIENCE))
        talk = Talk(sock)
        opened.callback(talk.close)
        talk.say("PROXY TCP4 192.0.2.7 192.0.2.8 1 2")
        assert talk.receive() == b"220 mx.test ESMTP ready\r\n"
        assert (0.6 < talk.seconds < 1.6) if name == "geomail" else talk.seconds > 1.5
        talk.say("NOOP")
        assert talk.receive() == (b"250 2.0.0 OK\r\n" if served else b"")


def test_a_client_that_says_starttls_and_nothing_more(proxies: Proxies) -> None:
    """Show that nginx restarts the time for a login, against its documentation."""

    def says_it(name: Name) -> float:
        with talking(name, OFFERS_TLS, proxies) as talk:
            time.sleep(0.6)
            talk.say("STARTTLS")
            assert talk.receive() == b"220 2.0.0 Start TLS\r\n"
            assert talk.receive() == b""
            return talk.seconds

    in_nginx, in_geomail = together(says_it, NAMES)

    assert in_geomail > 0.9
    assert in_nginx > 1.5
    assert in_nginx - in_geomail > 0.3
