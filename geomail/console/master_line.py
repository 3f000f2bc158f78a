"""The console's end of its line to the master, and the messages that both ends exchange.

The line is a pair of connected sockets that keep messages apart (SOCK_SEQPACKET).
Each message is one JSON object. Its first field names what it is; the other
fields depend on that name.

The console sends orders, each with an ``id`` that it has not used before:

    {"order": "reload", "id": 7}

The master sends reports:

    {"report": "state", "state": {…}}               the present state of the master
    {"report": "listener", "name": "metrics"}       accept on the attached socket from now on, instead of
                                                    the one before; without a socket: accept no more
    {"report": "answer", "id": 7, "error": null, "state": {…}}
                                                    the order was carried out; with a text in ``error``:
                                                    it was not, for this reason. Results are further fields

Every order gets exactly one answer, also an order that the master does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gevent import socket

from geomail.console.orders import PendingOrders
from geomail.control.jsonlines import decode, encode
from geomail.errors import GeomailError

#: Longest message of either end, in bytes.
LONGEST_MESSAGE = 192 * 1024
#: Seconds that the master has to answer an order.
_PATIENCE = 60.0

#: Takes a report, and the descriptors of the sockets that came with it.
Receiver = Callable[[dict[str, Any], list[int]], None]


class MasterSilent(GeomailError):
    """The master did not answer in time."""


class OrderRefused(GeomailError):
    """The master did not carry out an order; the text says why."""


class MasterLine:
    """The line to the master: it takes orders, and hands reports to ``receivers``, by the report's name.

    An answer goes to the caller of :meth:`order`, after the receiver of
    ``state`` has taken the state that came with it.
    """

    def __init__(self, sock: socket.socket, receivers: Mapping[str, Receiver]) -> None:
        self._sock = sock
        self._receivers = {"answer": self._take_answer, **receivers}
        self._orders = PendingOrders()

    def order(self, name: str) -> dict[str, Any]:
        """Have the master carry out an order, and return its answer. Raises MasterSilent, OrderRefused."""

        def send(number: int) -> None:
            self._sock.send(encode({"order": name, "id": number}))

        answer = self._orders.send(send, _PATIENCE)
        if answer is None:
            raise MasterSilent(f"the master did not answer within {_PATIENCE:g} s")
        if answer["error"] is not None:
            raise OrderRefused(answer["error"])
        return answer

    def read(self) -> None:
        """Take reports until the master closes its end."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._sock, LONGEST_MESSAGE, 1)
            if not data:
                return
            report = decode(data)
            self._receivers[report["report"]](report, descriptors)

    def close(self) -> None:
        """Close this end."""
        self._sock.close()

    def _take_answer(self, answer: dict[str, Any], descriptors: list[int]) -> None:
        self._receivers["state"](answer, descriptors)
        self._orders.take(answer["id"], answer)
