"""The account as which the master's children run, and the rights that they give up."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from geomail.errors import GeomailError

#: The accounts of workers if the configuration names none: the first that exists is used.
_USUAL = ("geomail", "nobody")
_PR_SET_DUMPABLE, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 23, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
#: More capabilities than any kernel has; the kernel tells which is its last.
_CAPABILITIES = range(64)

_libc = ctypes.CDLL(None, use_errno=True)


class CannotStart(GeomailError):
    """A process cannot change to its user, or cannot write the log; the text says which, and why."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user of the master's children, looked up once: later the master may be unable to look it up."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def is_root(self) -> bool:
        """True if children keep root's rights."""
        return self.uid == 0


def look_up_account(user: str) -> Account:
    """Look up the account of ``name`` or ``name:group``. Raises CannotStart."""
    name, _, group = user.partition(":")
    try:
        found = pwd.getpwnam(name)
        gid = grp.getgrnam(group).gr_gid if group else found.pw_gid
    except (KeyError, ValueError):
        raise CannotStart(f"user = {user!r}: no such user or group") from None
    return Account(name, found.pw_uid, gid, tuple(os.getgrouplist(name, gid)))


def choose_account(user: str | None) -> Account | None:
    """Return the account of children by the ``user`` setting; None unless we are root. Raises CannotStart."""
    if os.geteuid() != 0:
        return None
    return look_up_account(choose_default_user() if user is None else user)


def choose_default_user() -> str:
    """Return the user of root's children if the configuration names none: ``geomail``, else ``nobody``."""
    try:
        pwd.getpwnam(_USUAL[0])
    except KeyError:
        return _USUAL[1]
    return _USUAL[0]


def falls_back_to_nobody(user: str | None) -> bool:
    """Tell whether children will run as ``nobody`` because the operator has made no account for them."""
    return user is None and os.geteuid() == 0 and choose_default_user() == _USUAL[1]


def become(account: Account | None) -> None:
    """Become the account for good: gain no rights later, and forbid inspection. Raises CannotStart.

    None: we keep our user, and give up the capabilities that root or a service
    manager gave us. An account that is root is the operator's choice: only the
    group changes.
    """
    if account is not None and account.is_root:
        if account.gid != os.getgid():
            os.setgid(account.gid)
    else:
        if account is not None:
            _narrow_bounding_set()
            os.setgroups(account.groups)
            os.setresgid(account.gid, account.gid, account.gid)
            os.setresuid(account.uid, account.uid, account.uid)
        _drop_capabilities()
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    forbid_inspection()


def forbid_inspection() -> None:
    """Forbid other processes of this user to read this one's memory, and core dumps.

    When a process changes its user, the kernel undoes that. Raises CannotStart.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


@contextmanager
def open_files_as(account: Account) -> Iterator[None]:
    """Open files and sockets in this block with the rights of the account.

    Only this thread changes its user for files; the groups of the whole process change, too.
    """
    before = os.getgroups()
    os.setgroups(account.groups)
    _libc.setfsgid(account.gid)
    _libc.setfsuid(account.uid)  # this also takes root's capabilities for files from the thread
    try:
        yield
    finally:
        _libc.setfsuid(os.geteuid())
        _libc.setfsgid(os.getegid())
        os.setgroups(before)


def _narrow_bounding_set() -> None:
    """Forbid programs with file capabilities to give any to this process or its descendants.

    Root without CAP_SETPCAP cannot do this; NO_NEW_PRIVS forbids the same.
    """
    for capability in _CAPABILITIES:
        known = _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0)
        if known < 0:
            return
        if known:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def _drop_capabilities() -> None:
    """Give up all capabilities, including inheritable and ambient ones."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(ctypes.byref(header), ctypes.byref(nothing)) != 0:
        raise CannotStart(f"cannot drop capabilities: {os.strerror(ctypes.get_errno())}")


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise CannotStart(f"prctl {option} failed: {os.strerror(ctypes.get_errno())}")
