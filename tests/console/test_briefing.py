"""A worker that has connected: it counts for a reload once it knows what viewers watch."""

from __future__ import annotations

import gc
import os
import socket
from _socket import AF_UNIX, SOCK_SEQPACKET, SOCK_STREAM, socketpair
from _socket import socket as RawSocket
from collections.abc import Iterator

import gevent
import pytest

from geomail.console.process import Console, Sockets
from geomail.control.jsonlines import decode, encode
from geomail.sinks.feed import TOKEN
from geomail.sinks.log import Log

#: The token by which a worker proves that it has the same master.
SHOWN = bytes(range(TOKEN))


@pytest.fixture
def feed() -> RawSocket:
    """Open the socket where the console listens for workers."""
    sock = RawSocket(AF_UNIX, SOCK_STREAM)
    sock.setblocking(False)
    sock.bind("")
    sock.listen()
    return sock


@pytest.fixture
def console(feed: RawSocket) -> Iterator[Console]:
    """Run a console in this process, whose master expects one worker."""
    before = set(_greenlets())
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    console = Console(Sockets(theirs, feed, SHOWN), {"generation": 1, "expected": 1}, Log())
    yield console
    gevent.killall([greenlet for greenlet in _greenlets() if greenlet not in before])
    console.master.close()
    ours.close()


def _greenlets() -> list[gevent.Greenlet[..., object]]:
    return [one for one in gc.get_objects() if isinstance(one, gevent.Greenlet)]


def test_a_reload_waits_until_new_workers_know_what_is_watched(feed: RawSocket, console: Console) -> None:
    with socket.socket(socket.AF_UNIX) as worker, worker.makefile("rb") as orders:
        worker.connect(feed.getsockname())
        hello = {"pid": os.getpid(), "generation": 1, "started": 0.0, "protocols": {}}
        status = {"sessions": 0, "draining": False}
        worker.sendall(SHOWN + encode({"hello": hello}) + encode({"status": status}))
        order = decode(orders.readline())
        assert order["order"] == "watch"
        assert len(console.overview.links) == 1
        assert not console.overview.await_workers(0.1), "it has not answered yet"
        worker.sendall(encode({"answer": order["id"]}))
        assert console.overview.await_workers(5)
