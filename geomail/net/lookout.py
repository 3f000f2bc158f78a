"""A lookout for clients that leave while geomail lets them wait and reads nothing from them.

A watcher on each connection would cost every login two system calls, and would
not see an end behind bytes that geomail has not read yet. So all waiting
clients are checked together, three times a second; a shorter wait costs one
entry in a table.

A client has gone if it reset its connection, or ended it with no unread bytes
before the end. The end may arrive together with a login: a script sends all its
lines, then only listens. So an end counts only after :data:`PATIENCE` checks.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent import get_hub, monkey

from geomail.errors import PeerGone

if TYPE_CHECKING:
    from geomail.net.wire import Wire

#: Seconds between two checks.
LOOK = 0.3
#: Checks in a row that must see the end of a client; the last of them is less than a second after the end.
PATIENCE = 3

Leave = Callable[[PeerGone], object]

#: gevent's own poll would watch each connection; this one asks the kernel once for all of them.
_poll: Any = monkey.get_original("select", "poll")


class Lookout:
    """The waiting clients of one process, checked together."""

    def __init__(self) -> None:
        self._waiting: dict[Wire, Leave] = {}
        self._ended: dict[Wire, int] = {}
        self._is_looking = False
        self._timer = get_hub().loop.timer(LOOK, LOOK, ref=False)

    def begin(self, client: Wire, leave: Leave) -> None:
        """Watch a client that waits: call ``leave`` in the hub once it has gone.

        No greenlet may read from it until :meth:`end`.
        """
        self._waiting[client] = leave
        if not self._is_looking:
            self._is_looking = True
            self._timer.again(self._look)

    def end(self, client: Wire) -> None:
        """Stop watching a client: it waits no more."""
        self._waiting.pop(client, None)
        self._ended.pop(client, None)

    def close(self) -> None:
        """Stop all checks."""
        self._timer.close()

    def _look(self) -> None:
        if not self._waiting:
            self._is_looking = False
            self._timer.stop()
            return
        for client, is_broken in self._find_ended():
            checks = self._ended.get(client, 0) + 1
            if is_broken or (client.look_ahead() == b"" and checks >= PATIENCE):
                leave = self._waiting[client]
                self.end(client)
                leave(PeerGone("left while it waited for its login", blame="client"))
            else:
                self._ended[client] = checks

    def _find_ended(self) -> list[tuple[Wire, bool]]:
        """Return the clients that have ended their connection, each with True if it is broken."""
        poll, clients = _poll(), {client.fileno(): client for client in self._waiting}
        for descriptor in clients:
            poll.register(descriptor, select.POLLRDHUP)
        return [
            (clients[descriptor], bool(events & (select.POLLERR | select.POLLNVAL)))
            for descriptor, events in poll.poll(0)
        ]
