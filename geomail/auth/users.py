"""``auth = "users"``: a file of users, whose passwords are verified here."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gevent import get_hub
from gevent.lock import BoundedSemaphore
from gevent.threadpool import ThreadPool

from geomail import hashes
from geomail.auth.base import Accepted, Refused, Source, Verdict
from geomail.config.users import UsersFile, key_of, read_users
from geomail.errors import ConfigError, GeomailError
from geomail.protocols.base import Refusal

if TYPE_CHECKING:
    from geomail.backends import Backends
    from geomail.config.schema import Users
    from geomail.hashes import Hash
    from geomail.protocols.base import Login, Peer

#: Hashes that one process verifies at a time, each with the memory that it costs.
THREADS = 2
#: Logins that one process lets wait for their turn; to those beyond, it says that they may try later.
MOST_WAITING = 100
#: Seconds between two looks at the users file.
LOOK_INTERVAL = 1.0

#: Tells the operator something: its level in the log, and the words.
Tell = Callable[[str, str], object]

_NEUTRAL = Refusal(neutral=True)
_NOT_NOW = Refusal(neutral=True, temporary=True)


class NoUsers(GeomailError):
    """The users file could not be read yet; the text says why."""


class Busy(GeomailError):
    """So many logins wait for their hashes to be verified that another would wait too long."""


class Verifier:
    """Verifies hashes in a few threads of its own, for one hash takes as long as many relays together."""

    def __init__(self, threads: int = THREADS, most_waiting: int = MOST_WAITING) -> None:
        self._pool = ThreadPool(threads)
        self._room = threads + most_waiting

    def verify(self, known: Hash, password: bytes) -> bool:
        """Whether the hash is that of the password. Raises Busy, CannotVerify."""
        if not self._room:
            raise Busy("too many logins wait for their passwords to be verified")
        self._room -= 1
        try:
            answer = self._pool.apply(_verify, (known, password))
        finally:
            self._room += 1
        if isinstance(answer, GeomailError):
            raise answer
        return answer


def _verify(known: Hash, password: bytes) -> bool | GeomailError:
    """In a thread. What is raised there is printed by gevent: so it is returned."""
    try:
        return hashes.verify(known, password)
    except GeomailError as error:
        return error


@dataclass(frozen=True, slots=True)
class _Look:
    """What a look at the users file found: ``users``, or the ``problem`` with it."""

    stamp: tuple[int, ...] | None
    users: UsersFile | None
    problem: str = ""


class Directory:
    """The users file, as all servers of a process see it: read when it is first needed, and when it changes.

    ``backends`` are the names of those that exist. While the file is broken,
    the users that were read before stay in force.
    """

    def __init__(self, options: Users, backends: Collection[str], tell: Tell) -> None:
        self.verifier = Verifier()
        self._options = options
        self._backends = backends
        self._tell = tell
        self._users: UsersFile | None = None
        self._stamp: tuple[int, ...] | None = None
        self._problem = ""
        self._next_look = 0.0
        self._looking = BoundedSemaphore()

    def users(self) -> UsersFile:
        """All users. Raises NoUsers."""
        # While one login looks, the others go on with what was read before, if anything was.
        if self._is_due() and self._looking.acquire(blocking=self._users is None):
            try:
                if self._is_due():
                    self._look()
            finally:
                self._looking.release()
        if self._users is None:
            raise NoUsers(f"users file {self._problem}")
        return self._users

    def _is_due(self) -> bool:
        return time.monotonic() >= self._next_look

    def _look(self) -> None:
        """Read the file if it has changed; in a thread, as disks and a hundred thousand lines are slow."""
        found = get_hub().threadpool.apply(_look, (self._options, self._backends, self._stamp))
        self._next_look = time.monotonic() + LOOK_INTERVAL
        if found is None:
            return
        self._stamp = found.stamp
        if found.users is not None:
            if self._users is not None or self._problem:
                number = len(found.users.entries)
                self._tell("notice", f"users file {self._options.file} was read anew: {number} users")
            self._users, self._problem = found.users, ""
        elif found.problem != self._problem:
            self._problem = found.problem
            meanwhile = "nobody can log in" if self._users is None else "the users read before stay in force"
            self._tell("error", f"users file {found.problem}; {meanwhile}")


def _look(options: Users, backends: Collection[str], known: tuple[int, ...] | None) -> _Look | None:
    """In a thread: what is in the file, None if it is still the ``known`` one."""
    assert options.file is not None
    stamp = None
    try:
        status = Path(options.file).stat()
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        return None if stamp == known else _Look(stamp, read_users(options, backends))
    except OSError as error:
        return _Look(None, None, f"{options.file} cannot be read: {error.strerror}")
    except ConfigError as error:
        more = f" and {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
        return _Look(stamp, None, f"{error.problems[0]}{more}")


class UsersSource(Source):
    """Verifies the password, and looks up where the user belongs.

    Whatever is wrong, the client hears the same after the same time: somebody
    unknown costs the verification of a hash like that of the others.
    """

    def __init__(self, directory: Directory, backends: Backends) -> None:
        self._directory = directory
        self._backends = backends

    def check(self, login: Login, peer: Peer, protocol: str, attempt: int) -> Verdict:
        try:
            users = self._directory.users()
            entry = users.entries.get(key_of(login.user))
            verified = self._verify(entry.hash if entry else users.decoy, login.password)
        except GeomailError as error:
            return _refused(_NOT_NOW, str(error))
        if entry is None:
            return _refused(_NEUTRAL, "unknown user")
        if not verified:
            return _refused(_NEUTRAL, "wrong password")
        if entry.disabled:
            return _refused(_NEUTRAL, "the user is disabled")
        if protocol not in entry.protocols:
            return _refused(_NEUTRAL, f"the user is not allowed to use {protocol}")
        if not self._backends.speaks(entry.backend):
            return _refused(_NEUTRAL, f"the user's backend {entry.backend} has no address for {protocol}")
        return Accepted(
            self._backends.named(entry.backend),
            login.user if entry.user is None else entry.user,
            login.password if entry.password is None else entry.password,
        )

    def _verify(self, known: Hash | None, password: bytes) -> bool:
        return known is not None and self._directory.verifier.verify(known, password)


def _refused(refusal: Refusal, reason: str) -> Refused:
    return Refused(refusal, wait=0.0, close=False, reason=reason)
