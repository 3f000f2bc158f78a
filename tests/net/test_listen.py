"""Listening sockets, and the connections that are accepted from them."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
from _socket import socket as RawSocket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import gevent
import pytest

from geomail.net.listen import IPPROTO_MPTCP, Acceptor, bind, tune
from tests.net.support import PATIENCE, within
from tests.servers.support import free_port


@pytest.fixture
def acceptor() -> Iterator[Acceptor]:
    with closing(Acceptor(bind(host="127.0.0.1", port=0, path=""))) as acceptor:
        yield acceptor


def client_of(listener: RawSocket) -> socket.socket:
    client = socket.socket(listener.family)
    client.settimeout(PATIENCE)
    client.connect(listener.getsockname())
    return client


# -- accepting ------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_accepted_connection(host: str) -> None:
    listener = bind(host=host, port=0, path="")
    with closing(Acceptor(listener)) as acceptor, client_of(listener) as client:
        sock, address = within(acceptor.accept)
        with closing(sock):
            assert address == client.getsockname()
            assert sock.getpeername() == client.getsockname()
            assert sock.gettimeout() == 0.0
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert not os.get_inheritable(sock.fileno())


def test_a_unix_connection(tmp_path: Path) -> None:
    listener = bind(host="", port=0, path=str(tmp_path / "imap"))
    with closing(Acceptor(listener)) as acceptor, client_of(listener) as client:
        sock, address = within(acceptor.accept)
        with closing(sock):
            client.sendall(b"hello")
            assert sock.recv(100) == b"hello"
            assert address == ""


def test_accepting_waits() -> None:
    listener = bind(host="127.0.0.1", port=0, path="")
    with closing(Acceptor(listener)) as acceptor:
        job = gevent.spawn(acceptor.accept)
        gevent.sleep(0.01)
        assert not job.dead
        with client_of(listener):
            sock, _ = job.get(timeout=PATIENCE)
            sock.close()


def test_a_flood_of_connections_leaves_other_greenlets_their_turn() -> None:
    listener = bind(host="127.0.0.1", port=0, path="")
    turns: list[int] = []
    with closing(Acceptor(listener)) as acceptor, ExitStack() as open_ones:
        for _ in range(20):
            open_ones.enter_context(client_of(listener))

        def accept_all() -> None:
            for number in range(20):
                gevent.spawn(turns.append, number)
                acceptor.accept()[0].close()
                assert turns == list(range(number + 1))

        within(lambda: gevent.spawn(accept_all).get())


def test_a_connection_that_another_process_took_is_not_missed() -> None:
    listener = bind(host="127.0.0.1", port=0, path="")
    twin = RawSocket(listener.family, listener.type, listener.proto, fileno=os.dup(listener.fileno()))
    with closing(Acceptor(listener)) as one, closing(Acceptor(twin)) as other:
        jobs = [gevent.spawn(acceptor.accept) for acceptor in (one, other)]
        gevent.sleep(0.01)
        for number in (1, 2):
            with client_of(listener):
                gevent.sleep(0.01)
                assert sum(job.dead for job in jobs) == number
        for job in jobs:
            job.get()[0].close()


def test_waiting_clients_can_be_accepted_at_once() -> None:
    listener = bind(host="127.0.0.1", port=0, path="", backlog=1000)
    many = min(600, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    with closing(Acceptor(listener)) as acceptor, ExitStack() as opened:
        for _ in range(many):
            opened.enter_context(client_of(listener))
        taken = [opened.enter_context(closing(sock)) for sock, _ in acceptor.accept_waiting()]
        assert len(taken) == many
        assert list(acceptor.accept_waiting()) == []


def test_accepting_goes_on_after_an_error_without_descriptors() -> None:
    listener = bind(host="127.0.0.1", port=0, path="")
    with closing(Acceptor(listener)) as acceptor, client_of(listener), ExitStack() as filling:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        filling.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        while (fd := _another_descriptor()) >= 0:
            filling.callback(os.close, fd)

        with pytest.raises(OSError, match="Too many open files") as raised:
            within(acceptor.accept)
        assert raised.value.errno == errno.EMFILE

        filling.close()
        within(acceptor.accept)[0].close()


def _another_descriptor() -> int:
    try:
        return os.dup(0)
    except OSError:
        return -1


def test_a_greenlet_that_waits_for_a_connection_can_be_killed() -> None:
    listener = bind(host="127.0.0.1", port=0, path="")
    acceptor = Acceptor(listener)
    job = gevent.spawn(acceptor.accept)
    gevent.sleep(0)
    job.kill()
    acceptor.close()

    assert listener.fileno() == -1


# -- binding --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_in_use(host: str) -> None:
    with (
        closing(bind(host=host, port=0, path="")) as first,
        pytest.raises(OSError, match="in use") as raised,
    ):
        bind(host=host, port=first.getsockname()[1], path="")
    assert raised.value.errno == errno.EADDRINUSE


def test_a_port_that_was_in_use_a_moment_ago() -> None:
    with closing(bind(host="127.0.0.1", port=0, path="")) as first:
        port = first.getsockname()[1]
        client = client_of(first)
        fd, _ = first._accept()  # type: ignore[attr-defined]
        os.close(fd)  # the side that closes first keeps the port for a minute
        client.close()

    bind(host="127.0.0.1", port=port, path="").close()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(OSError, match="Cannot assign") as raised:
        bind(host="192.0.2.1", port=0, path="")
    assert raised.value.errno == errno.EADDRNOTAVAIL


def test_all_of_ipv6_leaves_ipv4_alone() -> None:
    port = free_port()
    with closing(bind(host="::", port=port, path="")):
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
        bind(host="0.0.0.0", port=port, path="").close()


def test_an_abandoned_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "imap")
    bind(host="", port=0, path=path).close()

    with closing(bind(host="", port=0, path=path)) as listener, client_of(listener):
        pass


@pytest.mark.parametrize("backlog", [511, 0], ids=["idle", "its backlog full"])
def test_a_living_unix_socket_is_not_replaced(backlog: int, tmp_path: Path) -> None:
    path = str(tmp_path / "imap")
    with closing(bind(host="", port=0, path=path, backlog=backlog)) as listener, client_of(listener):
        with pytest.raises(OSError, match="in use"):
            within(lambda: bind(host="", port=0, path=path))
        os.close(listener._accept()[0])  # type: ignore[attr-defined]
        with client_of(listener):
            pass


@pytest.mark.parametrize("kind", ["file", "folder", "datagram socket"])
def test_a_file_that_is_not_a_listener_is_left_alone(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        if kind == "file":
            path.write_text("precious")
        elif kind == "folder":
            path.mkdir()
        else:
            datagrams.bind(str(path))

        with pytest.raises(OSError, match="in use"):
            bind(host="", port=0, path=str(path))
        assert path.exists()


def test_a_unix_socket_in_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        bind(host="", port=0, path=str(tmp_path / "none" / "imap"))


def test_every_user_that_reaches_a_unix_socket_may_connect(tmp_path: Path) -> None:
    path = tmp_path / "imap"
    mask = os.umask(0o077)
    try:
        bind(host="", port=0, path=str(path)).close()
    finally:
        os.umask(mask)

    assert stat.S_IMODE(path.stat().st_mode) == 0o666


# -- tuning ---------------------------------------------------------------------------------------


def option(sock: RawSocket, level: int, name: int) -> int:
    value = sock.getsockopt(level, name)
    assert isinstance(value, int)
    return value


PLAIN: dict[str, Any] = {"backlog": 8, "rcvbuf": None, "sndbuf": None, "keepalive": True}


@pytest.mark.parametrize(
    ("tuned", "level", "name", "value"),
    [
        ({"rcvbuf": 8192}, socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * 8192),
        ({"sndbuf": 8192}, socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * 8192),
        ({"keepalive": True}, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ({"keepalive": False}, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0),
        ({"keepalive": (60, None, None)}, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ({"keepalive": (60, None, None)}, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
        ({"keepalive": (None, 7, None)}, socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 7),
        ({"keepalive": (None, None, 3)}, socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    ],
)
def test_accepted_connections_are_as_the_listener_is_tuned(
    tuned: dict[str, Any], level: int, name: int, value: int
) -> None:
    listener = bind(host="127.0.0.1", port=0, path="")
    assert tune(listener, **{**PLAIN, **tuned}) == []
    with closing(Acceptor(listener)) as acceptor, client_of(listener):
        sock, _ = within(acceptor.accept)
        with closing(sock):
            assert option(sock, level, name) == value


@pytest.mark.parametrize(
    ("tuned", "refused"),
    [
        ({"keepalive": (43200, None, None)}, ["so_keepalive: 43200: Invalid argument"]),
        ({"keepalive": (10**12, 5, 500)}, [f"so_keepalive: {n}: Invalid argument" for n in (10**12, 500)]),
        ({"backlog": 10**12, "rcvbuf": 10**12, "sndbuf": 10**12}, []),
    ],
)
def test_an_option_that_the_system_refuses_is_reported_and_skipped(
    tuned: dict[str, Any], refused: list[str]
) -> None:
    listener = bind(host="127.0.0.1", port=0, path="")
    assert tune(listener, **{**PLAIN, **tuned}) == refused
    with closing(Acceptor(listener)) as acceptor, client_of(listener):
        within(acceptor.accept)[0].close()


def test_a_unix_listener_has_only_a_backlog_and_buffers(tmp_path: Path) -> None:
    with closing(bind(host="", port=0, path=str(tmp_path / "imap"))) as listener:
        tune(listener, backlog=1, rcvbuf=None, sndbuf=8192, keepalive=(1, 2, 3))
        assert option(listener, socket.SOL_SOCKET, socket.SO_SNDBUF) == 2 * 8192


def test_the_backlog_bounds_waiting_clients() -> None:
    with ExitStack() as opened:
        listener = opened.enter_context(closing(bind(host="127.0.0.1", port=0, path="")))
        tune(listener, **{**PLAIN, "backlog": 1})
        connected = 0
        for _ in range(6):
            client = opened.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            gevent.sleep(0.05)
            connected += client.connect_ex(listener.getsockname()) in (0, errno.EISCONN)
        assert 1 <= connected <= 2


def test_an_ipv6_wildcard_may_take_ipv4_too() -> None:
    listener = bind(host="::", port=0, path="", ipv6only=False)
    with closing(Acceptor(listener)) as acceptor, socket.socket() as client:
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", listener.getsockname()[1]))
        sock, address = within(acceptor.accept)
        with closing(sock):
            assert address[0] == "::ffff:127.0.0.1"


def test_multipath_where_the_system_has_it() -> None:
    with closing(bind(host="127.0.0.1", port=0, path="", multipath=True)) as listener, client_of(listener):
        assert listener.proto in (0, IPPROTO_MPTCP)
