"""The account that children of the master run as, and the rights that they give up for it."""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from geomail.errors import GeomailError

#: The accounts of workers where the configuration names none: the first one that exists is used.
_USUAL = ("geomail", "nobody")
_PR_SET_DUMPABLE, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 23, 24, 38
_CAPABILITY_VERSION_3 = 0x20080522
#: More than any kernel has; it says where its own end.
_CAPABILITIES = range(64)

_libc = ctypes.CDLL(None, use_errno=True)


class CannotStart(GeomailError):
    """A process cannot become what it is to be, or cannot write the log; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that children of the master become: looked up once, as the master may not look up later."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def is_root(self) -> bool:
        """Tell whether children keep all that root may."""
        return self.uid == 0


def account_of(user: str) -> Account:
    """The account that ``name`` or ``name:group`` means. Raises CannotStart."""
    name, _, group = user.partition(":")
    try:
        found = pwd.getpwnam(name)
        gid = grp.getgrnam(group).gr_gid if group else found.pw_gid
    except (KeyError, ValueError):
        raise CannotStart(f"user = {user!r}: no such user or group") from None
    return Account(name, found.pw_uid, gid, tuple(os.getgrouplist(name, gid)))


def account_for(user: str | None) -> Account | None:
    """The account that ``user`` means for children; None: we are not root. Raises CannotStart."""
    if os.geteuid() != 0:
        return None
    return account_of(usual_user() if user is None else user)


def usual_user() -> str:
    """The user of root's children where the configuration names none: ``geomail``, else ``nobody``."""
    try:
        pwd.getpwnam(_USUAL[0])
    except KeyError:
        return _USUAL[1]
    return _USUAL[0]


def is_makeshift(user: str | None) -> bool:
    """Tell whether children will be ``nobody`` only because the operator has made no account for them."""
    return user is None and os.geteuid() == 0 and usual_user() == _USUAL[1]


def become(account: Account | None) -> None:
    """Become the account for good, and unable to become more, or to be looked into. Raises CannotStart.

    Where it is None we stay who we are, without what root or a service manager
    lent us. Where it is root, the operator wanted that: only the group changes.
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
    close_to_others()


def close_to_others() -> None:
    """Let no other process of this user look into this one's memory, and no core dump hold it.

    The kernel undoes that where a process changes its user. Raises CannotStart.
    """
    _prctl(_PR_SET_DUMPABLE, 0)


@contextmanager
def files_as(account: Account) -> Iterator[None]:
    """Open files and sockets with the rights of the account, and then with ours again.

    Of the process, the groups alone are changed, for this moment.
    """
    before = os.getgroups()
    os.setgroups(account.groups)
    _libc.setfsgid(account.gid)
    _libc.setfsuid(account.uid)  # which takes from this thread all that root may do with files
    try:
        yield
    finally:
        _libc.setfsuid(os.geteuid())
        _libc.setfsgid(os.getegid())
        os.setgroups(before)


def _narrow_bounding_set() -> None:
    """Take from this process and its descendants what a program with file capabilities could give.

    Root without CAP_SETPCAP cannot; NO_NEW_PRIVS forbids the same.
    """
    for capability in _CAPABILITIES:
        known = _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0)
        if known < 0:
            return
        if known:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def _drop_capabilities() -> None:
    """Give up all capabilities, inheritable and ambient ones included."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if _libc.capset(ctypes.byref(header), ctypes.byref(nothing)) != 0:
        raise CannotStart(f"cannot drop capabilities: {os.strerror(ctypes.get_errno())}")


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise CannotStart(f"prctl {option} failed: {os.strerror(ctypes.get_errno())}")
