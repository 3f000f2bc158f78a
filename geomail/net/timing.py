"""Time limits: ``gevent.Timeout`` turned into geomail's own error.

One timer per phase (a login, a question to the auth source, a handshake), not
one per read: a limit around each read never ends a client that sends one byte
every 29 seconds.
"""

from __future__ import annotations

from types import TracebackType

from gevent import Timeout

from geomail.errors import PeerTimeout, Side


class TimeLimit:
    """A block that must end within ``seconds``, or PeerTimeout is raised in it.

    ``blame`` is whom the block waits for, ``private`` what the log says.
    Limits nest: each turns only its own timer into an error.
    """

    __slots__ = ("_blame", "_private", "_timeout")

    def __init__(self, seconds: float, *, blame: Side, private: str) -> None:
        self._blame: Side = blame
        self._private = private
        self._timeout = Timeout(seconds)

    def __enter__(self) -> None:
        self._timeout.start()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._timeout.close()
        if error is self._timeout:
            raise PeerTimeout(self._private, blame=self._blame) from None
