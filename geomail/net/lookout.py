"""A lookout for clients that leave while geomail lets them wait and reads nothing from them.

A watcher on each connection would cost every login two calls of the kernel,
and would not see an end behind bytes that geomail has not read yet. So all waiting
clients are looked at together, three times a second; a wait that is over sooner costs
an entry in a table.

A client has gone if it reset its connection, or ended it with nothing unread
before the end. As a login may have come with its own end (a script that says
what it has to say and listens), that counts only after :data:`PATIENCE` looks.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gevent import get_hub, monkey

from geomail.errors import PeerGone

if TYPE_CHECKING:
    from geomail.net.wire import Wire

#: Seconds between two looks.
LOOK = 0.3
#: Looks in a row that must see the end of a client: less than a second from the end to the last of them.
PATIENCE = 3

Leave = Callable[[PeerGone], object]

#: gevent's own would watch each connection; this one asks the kernel once for all.
_poll: Any = monkey.get_original("select", "poll")


class Lookout:
    """Looks at the waiting clients of one process."""

    def __init__(self) -> None:
        self._waiting: dict[Wire, Leave] = {}
        self._ended: dict[Wire, int] = {}
        self._is_looking = False
        self._timer = get_hub().loop.timer(LOOK, LOOK, ref=False)

    def begin(self, client: Wire, leave: Leave) -> None:
        """The client waits: ``leave`` is called, in the hub, once it has gone. Nobody may read from it."""
        self._waiting[client] = leave
        if not self._is_looking:
            self._is_looking = True
            self._timer.again(self._look)

    def end(self, client: Wire) -> None:
        """The client waits no more."""
        self._waiting.pop(client, None)
        self._ended.pop(client, None)

    def close(self) -> None:
        """Stop looking at clients."""
        self._timer.close()

    def _look(self) -> None:
        if not self._waiting:
            self._is_looking = False
            self._timer.stop()
            return
        for client, is_broken in self._stirred():
            looks = self._ended.get(client, 0) + 1
            if is_broken or (client.look_ahead() == b"" and looks >= PATIENCE):
                leave = self._waiting[client]
                self.end(client)
                leave(PeerGone("left while it waited for its login", blame="client"))
            else:
                self._ended[client] = looks

    def _stirred(self) -> list[tuple[Wire, bool]]:
        """The clients that have sent their end, and whether their connection is broken, too."""
        poll, clients = _poll(), {client.fileno(): client for client in self._waiting}
        for descriptor in clients:
            poll.register(descriptor, select.POLLRDHUP)
        return [
            (clients[descriptor], bool(events & (select.POLLERR | select.POLLNVAL)))
            for descriptor, events in poll.poll(0)
        ]
