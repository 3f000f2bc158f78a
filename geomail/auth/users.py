"""``auth = "users"``: geomail verifies the passwords of a users file."""

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

#: Seconds between two checks whether the users file has changed.
LOOK_INTERVAL = 1.0

#: Writes a line to the log: its level, and its text.
Tell = Callable[[str, str], object]

_NEUTRAL = Refusal(neutral=True)
_NOT_NOW = Refusal(neutral=True, temporary=True)


class NoUsers(GeomailError):
    """An error: geomail could not read the users file yet; the text says why."""


@dataclass(frozen=True, slots=True)
class _Look:
    """The result of reading the users file: ``users``, or the ``problem`` with it."""

    stamp: tuple[int, ...] | None
    users: UsersFile | None
    problem: str = ""


class Directory:
    """The users file of a process: read at the first login, and again after each change.

    ``backends`` are the names of the configured backends. While the file is
    broken, the users that were read before stay in force.
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

    def get_users(self) -> UsersFile:
        """Return all users. Raises NoUsers."""
        # While one login reads the file, other logins use the users that were read before, if there are any.
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
        """Read the file if it has changed; in a thread, because a slow disk or 100,000 lines take time."""
        found = get_hub().threadpool.apply(
            _read_changed, (self._options, self._backends, self._stamp, self.costs)
        )
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
            meanwhile = "no user can log in" if self._users is None else "the users read before stay in force"
            self._tell("error", f"users file {found.problem}; {meanwhile}")


def _read_changed(
    options: Users, backends: Collection[str], known: tuple[int, ...] | None, costs: Costs
) -> _Look | None:
    """Read the file, and measure its hashes; None if the file is still the ``known`` one. For a thread."""
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
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        return _Look(stamp, None, f"{error.problems[0]}{more}")
    costs.measure(users.costliest)
    return _Look(stamp, users)


class UsersSource(Source):
    """The auth source that verifies passwords with the users file, within ``timeout`` seconds.

    For every reason, the refusal has the same text and takes the same time: see :mod:`geomail.auth.verifier`.
    """

    def __init__(self, directory: Directory, backends: Backends, timeout: float) -> None:
        self._directory = directory
        self._backends = backends
        self._timeout = timeout

    def check(self, login: Login, client: Client, protocol: str, attempt: int) -> Verdict:
        late = "the password could not be verified within {seconds} s"
        try:
            with TimeLimit(self._timeout, blame="auth", private=late):
                users = self._directory.get_users()
                with self._directory.verifier.make_turn(client.address) as turn:
                    turn.seconds = lambda: self._directory.costs.get_refusal_seconds(
                        len(login.password or b"")
                    )
                    verdict = self._judge(users, login, protocol, turn)
                    if isinstance(verdict, Refused):
                        turn.wait_out()
                    return verdict
        except (NoUsers, Busy, CannotVerify, PeerTimeout) as error:
            return _make_refusal(_NOT_NOW, str(error))

    def _judge(self, users: UsersFile, login: Login, protocol: str, turn: Turn) -> Verdict:
        if login.password is None:
            return _make_refusal(
                _NEUTRAL, f"{login.credentials.method} gives no password that a hash could verify"
            )
        entry = users.entries.get(make_key(login.user))
        if entry is None:
            return _make_refusal(_NEUTRAL, "unknown user")
        if not self._verify(entry.hash, login.password, turn):
            return _make_refusal(_NEUTRAL, "wrong password")
        if entry.disabled:
            return _make_refusal(_NEUTRAL, "the user is disabled")
        if protocol not in entry.protocols:
            return _make_refusal(_NEUTRAL, f"the user is not allowed to use {protocol}")
        if not self._backends.speaks(entry.backend, protocol):
            return _make_refusal(
                _NEUTRAL, f"the user's backend {entry.backend} has no address for {protocol}"
            )
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


def _make_refusal(refusal: Refusal, reason: str) -> Refused:
    return Refused(refusal, wait=0.0, close=False, reason=reason)
