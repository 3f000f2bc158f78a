"""A master and two workers, as geomail has them: ``python -m tests.net.forked_workers``.

Reads the keywords of make_server_context as JSON, makes the context, forks, and
prints the port of each worker. A worker greets ten clients at most; all ends
with standard input.
"""

import json
import os
import signal
import sys
from _socket import socket as RawSocket
from typing import NoReturn

import gevent

from geomail.errors import SessionError
from geomail.net.listen import Acceptor, bind
from geomail.net.tls import TlsSide
from geomail.net.tls_contexts import ServerSettings, make_server_context
from geomail.net.wire import Wire

SECONDS = 30


def main() -> None:
    settings = json.loads(sys.stdin.readline())
    side = TlsSide(make_server_context(ServerSettings(**settings)), server=True)
    sockets = [bind(host="127.0.0.1", port=0, path="") for _ in range(2)]
    children = []
    for sock in sockets:
        child = os.fork()
        if child == 0:
            _work(sock, side)
        children.append(child)
    sys.stdout.write(json.dumps([sock.getsockname()[1] for sock in sockets]) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _work(sock: RawSocket, side: TlsSide) -> NoReturn:
    try:
        gevent.with_timeout(SECONDS, _serve, Acceptor(sock), side)
    finally:
        os._exit(0)


def _serve(acceptor: Acceptor, side: TlsSide) -> None:
    for _ in range(10):
        sock, _ = acceptor.accept()
        wire = Wire(sock, "client", side)
        try:
            wire.start_tls()
            wire.send(b"220 \r\n")
            while wire.receive(100):
                pass
        except SessionError:
            pass
        wire.close()


if __name__ == "__main__":
    main()
