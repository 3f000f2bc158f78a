"""``auth = "users"``: a file of users, whose passwords are verified here."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gevent import get_hub
from gevent.lock import BoundedSemaphore

from geomail.auth.base import Accepted, Refused, Source, Verdict
from geomail.auth.costs import Costs
from geomail.auth.verifier import Busy, Turn, Verifier
from geomail.backends.routes import NamedRoute
from geomail.config.users import UsersFile, make_key, read_users
from geomail.errors import ConfigError, GeomailError, PeerTimeout
from geomail.hashes import CannotVerify
from geomail.net.timing import TimeLimit
from geomail.parties import Refusal

if TYPE_CHECKING:
    from geomail.backends import Backends
    from geomail.config.schema import Users
    from geomail.hashes import Hash
    from geomail.parties import Client, Login

#: Seconds between two looks at the users file.
LOOK_INTERVAL = 1.0

#: Tells the operator something: its level in the log, and the words.
Tell = Callable[[str, str], object]

_NEUTRAL = Refusal(neutral=True)
_NOT_NOW = Refusal(neutral=True, temporary=True)


class NoUsers(GeomailError):
    """The users file could not be read yet; the text says why."""


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
        self.costs = Costs(options.max_password)
        self.longest_password = options.max_password
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
        found = get_hub().threadpool.apply(_look, (self._options, self._backends, self._stamp, self.costs))
        self._next_look = time.monotonic() + LOOK_INTERVAL
        if found is None:
            return
        self._stamp = found.stamp
        if found.users is not None:
            if self._users is not None or self._problem:
                number = len(found.users.entries)
                self._tell("notice", f"users file {self._options.file} was read again: {number} users")
            self._users, self._problem = found.users, ""
        elif found.problem != self._problem:
            self._problem = found.problem
            meanwhile = "nobody can log in" if self._users is None else "the users read before stay in force"
            self._tell("error", f"users file {found.problem}; {meanwhile}")


def _look(
    options: Users, backends: Collection[str], known: tuple[int, ...] | None, costs: Costs
) -> _Look | None:
    """In a thread: what is in the file and what its hashes cost, None if it is still the ``known`` one."""
    assert options.file is not None
    stamp = None
    try:
        status = Path(options.file).stat()
        stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if stamp == known:
            return None
        users = read_users(options, backends)
    except OSError as error:
        return _Look(None, None, f"{options.file} cannot be read: {error.strerror}")
    except ConfigError as error:
        more = f" and {len(error.problems) - 1} more" if len(error.problems) > 1 else ""
        return _Look(stamp, None, f"{error.problems[0]}{more}")
    costs.measure(users.costliest)
    return _Look(stamp, users)


class UsersSource(Source):
    """Verifies the password, and looks up where the user belongs; that has ``timeout`` seconds.

    Whatever is wrong, the client hears the same after the same time: see :mod:`geomail.auth.verifier`.
    """

    def __init__(self, directory: Directory, backends: Backends, timeout: float) -> None:
        self._directory = directory
        self._backends = backends
        self._timeout = timeout

    def check(self, login: Login, client: Client, protocol: str, attempt: int) -> Verdict:
        late = "the password could not be verified within {seconds} s"
        try:
            with TimeLimit(self._timeout, blame="auth", private=late):
                users = self._directory.users()
                with self._directory.verifier.turn(client.address) as turn:
                    turn.seconds = lambda: self._directory.costs.seconds(len(login.password or b""))
                    verdict = self._judged(users, login, protocol, turn)
                    if isinstance(verdict, Refused):
                        turn.last()
                    return verdict
        except (NoUsers, Busy, CannotVerify, PeerTimeout) as error:
            return _refused(_NOT_NOW, str(error))

    def _judged(self, users: UsersFile, login: Login, protocol: str, turn: Turn) -> Verdict:
        if login.password is None:
            return _refused(
                _NEUTRAL, f"{login.credentials.method} gives no password that a hash could verify"
            )
        entry = users.entries.get(make_key(login.user))
        if entry is None:
            return _refused(_NEUTRAL, "unknown user")
        if not self._verify(entry.hash, login.password, turn):
            return _refused(_NEUTRAL, "wrong password")
        if entry.disabled:
            return _refused(_NEUTRAL, "the user is disabled")
        if protocol not in entry.protocols:
            return _refused(_NEUTRAL, f"the user is not allowed to use {protocol}")
        if not self._backends.speaks(entry.backend, protocol):
            return _refused(_NEUTRAL, f"the user's backend {entry.backend} has no address for {protocol}")
        return Accepted(
            NamedRoute(entry.backend),
            login.user if entry.user is None else entry.user,
            login.password if entry.password is None else entry.password,
        )

    def _verify(self, known: Hash, password: bytes, turn: Turn) -> bool:
        if len(password) > self._directory.longest_password:
            return False
        verified = turn.verify(known, password)
        self._directory.costs.note(len(password), turn.elapsed)
        return verified


def _refused(refusal: Refusal, reason: str) -> Refused:
    return Refused(refusal, wait=0.0, close=False, reason=reason)
