"""The sandbox mail server behind ``geomail serve --demo``: a process of its own, without gevent.

It speaks SMTP, IMAP and POP3 over one Maildir for each user, on loopback ports
that the system picks. Its SMTP accepts XCLIENT, and writes the attributes into
the Received header. It reads one line of JSON from standard input, ``{"folder":
…, "users": {address: password}}``, and writes one to standard output, ``{"smtp":
port, "imap": port, "pop3": port}``. It ends with its parent process and removes
the folder, so that nothing is left even if the parent was killed.
"""

from __future__ import annotations

import json
import mailbox
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message as Parsed
from email.utils import formatdate
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.internet import defer, protocol, task
from twisted.internet import reactor as installed
from twisted.mail import imap4, pop3, smtp
from zope.interface import classImplements

HOST = "127.0.0.1"
#: The attributes of XCLIENT, with Postfix's names (XCLIENT_README).
ATTRIBUTES = (b"NAME", b"ADDR", b"PORT", b"PROTO", b"HELO", b"LOGIN", b"DESTADDR", b"DESTPORT")

#: Seconds between two checks that the parent still runs.
_WATCH_INTERVAL = 0.5
_reactor: Any = installed
_XTEXT = re.compile(rb"\+([0-9A-F]{2})")
_RECEIVED = b"""\
Received: from %b (%b [%b]:%b)
\t(authenticated as %b, says geomail by XCLIENT)
\tby sandbox.test with %b; %b"""


@dataclass
class StoredMessage:
    """A message in a Maildir, with the Maildir's key for it."""

    key: str
    arrived: float
    flags: set[str] = field(default_factory=set)


class Store:
    """One user's mail by its UIDs. SMTP adds messages; IMAP and POP3 remove them."""

    def __init__(self, folder: Path, password: str) -> None:
        self.password = password.encode()
        self.mail: dict[int, StoredMessage] = {}
        self.began = int(time.time())
        self.next_uid = 1
        self.open: list[Inbox] = []
        self._maildir = mailbox.Maildir(folder)

    def add(self, content: bytes) -> None:
        """Store a message whose lines end with LF, and show it to the open IMAP sessions."""
        uid, self.next_uid = self.next_uid, self.next_uid + 1
        self.mail[uid] = StoredMessage(self._maildir.add(content), time.time())
        for inbox in self.open:
            inbox.add(uid)

    def read(self, uid: int) -> bytes:
        """Return a message; its lines end with LF."""
        return self._maildir.get_bytes(self.mail[uid].key)

    def remove(self, uid: int) -> None:
        """Remove a message, unless it is gone already."""
        if (stored := self.mail.pop(uid, None)) is not None:
            self._maildir.discard(stored.key)


#: The users' stores, by their addresses.
Stores = dict[bytes, Store]


def log_in(stores: Stores, user: bytes, password: bytes) -> Store:
    """Return the user's store. Raises UnauthorizedLogin."""
    store = stores.get(user.lower())
    if store is None or store.password != password:
        raise UnauthorizedLogin
    return store


# -- SMTP -----------------------------------------------------------------------------------------


class Delivery:
    """A message on its way into a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        self._lines.append(line)

    def eomReceived(self) -> defer.Deferred[None]:
        self._store.add(b"\n".join((*self._lines, b"")))
        return defer.succeed(None)

    def connectionLost(self) -> None:
        self._lines.clear()


class Smtp(smtp.ESMTP):
    """An SMTP server that takes mail for the sandbox's users, if XCLIENT names the user who is logged in."""

    noisy = False

    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self.host = b"sandbox.test"
        self._stores = stores
        self._attributes: dict[bytes, bytes] = {}

    def extensions(self) -> dict[bytes, list[bytes] | None]:
        return {**super().extensions(), b"XCLIENT": list(ATTRIBUTES), b"8BITMIME": None}

    def ext_XCLIENT(self, rest: bytes) -> None:
        for attribute in rest.split():
            name, _, value = attribute.partition(b"=")
            if name.upper() not in ATTRIBUTES:
                self.sendCode(501, b"5.5.4 Bad XCLIENT attribute name")
                return
            self._attributes[name.upper()] = _XTEXT.sub(
                lambda digits: bytes.fromhex(digits[1].decode()), value
            )
        self._from, self._to = None, []
        self.sendCode(220, self.greeting())

    def validateFrom(self, helo: tuple[bytes, bytes], origin: smtp.Address) -> smtp.Address:
        if b"LOGIN" not in self._attributes:
            raise smtp.SMTPServerError(530, "5.7.0 XCLIENT did not name a user who is logged in")
        return origin

    def validateTo(self, user: smtp.User) -> Callable[[], Delivery]:
        store = self._stores.get(bytes(user.dest).lower())
        if store is None:
            raise smtp.SMTPServerError(550, "5.1.1 not a user of the demo")
        return lambda: Delivery(store)

    def receivedHeader(self, helo: object, origin: object, recipients: object) -> bytes:
        names = (b"HELO", b"NAME", b"ADDR", b"PORT", b"LOGIN", b"PROTO")
        values = [self._attributes.get(name, b"[UNAVAILABLE]") for name in names]
        return _RECEIVED % (*values, formatdate().encode())


# -- IMAP and POP3 --------------------------------------------------------------------------------


class Part:
    """A message, or a part of one, in the form that imap4 needs; lines of ``content`` end with CRLF."""

    def __init__(self, parsed: Parsed, content: bytes) -> None:
        self._parsed = parsed
        self._content = content

    def getHeaders(self, negate: bool, *names: bytes | str) -> dict[str, str]:
        wanted = {(name.decode() if isinstance(name, bytes) else name).lower() for name in names}
        return {
            name.lower(): str(value).encode("ascii", "replace").decode()
            for name, value in self._parsed.items()
            if (name.lower() in wanted) != negate
        }

    def getBodyFile(self) -> BytesIO:
        return BytesIO(self._content.partition(b"\r\n\r\n")[2])

    def getSize(self) -> int:
        return len(self._content)

    def isMultipart(self) -> bool:
        return self._parsed.is_multipart()

    def getSubPart(self, part: int) -> Part:
        inner: Any = self._parsed.get_payload(part)
        return Part(inner, inner.as_bytes().replace(b"\n", b"\r\n"))


class Message(Part):
    """A whole message."""

    def __init__(self, uid: int, stored: StoredMessage, content: bytes) -> None:
        super().__init__(message_from_bytes(content), content.replace(b"\n", b"\r\n"))
        self.getUID = lambda: uid
        self.getFlags = lambda: stored.flags
        self.getInternalDate = lambda: formatdate(stored.arrived)
        self.open = lambda: BytesIO(self._content)


classImplements(Message, imap4.IMessageFile)


class Inbox:
    """A user's mail in one IMAP session: messages keep their numbers when other sessions remove some."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._uids = list(store.mail)
        self._listeners: list[Any] = []
        self.getHierarchicalDelimiter = lambda: "/"
        self.getFlags = lambda: ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft"]
        self.getUIDValidity = lambda: store.began
        self.getUIDNext = lambda: store.next_uid
        self.getUID = lambda number: self._uids[number - 1]
        self.getMessageCount = lambda: len(self._uids)
        self.getRecentCount = lambda: 0
        self.getUnseenCount = lambda: sum("\\Seen" not in stored.flags for stored in store.mail.values())
        self.isWriteable = lambda: True
        self.requestStatus = lambda names: imap4.statusRequestHelper(self, names)
        self.addListener = self._listeners.append
        self.removeListener = self._listeners.remove

    def add(self, uid: int) -> None:
        self._uids.append(uid)
        for listener in self._listeners:
            listener.newMessages(len(self._uids), None)

    def expunge(self) -> list[int]:
        mail = self._store.mail
        gone = [uid for uid in self._uids if uid not in mail or "\\Deleted" in mail[uid].flags]
        numbers = [self._uids.index(uid) + 1 for uid in gone]
        for uid in gone:
            self._store.remove(uid)
            self._uids.remove(uid)
        return numbers[::-1]

    def fetch(self, messages: imap4.MessageSet, uid: bool) -> list[tuple[int, Message]]:
        chosen = self._choose(messages, uid)
        return [(number, Message(each, stored, self._store.read(each))) for number, each, stored in chosen]

    def store(
        self, messages: imap4.MessageSet, flags: Iterable[str], mode: int, uid: bool
    ) -> dict[int, set[str]]:
        changed = {}
        for number, _, stored in self._choose(messages, uid):
            old = stored.flags
            stored.flags = set(flags) if mode == 0 else old - set(flags) if mode < 0 else old | set(flags)
            changed[number] = stored.flags
        return changed

    def _choose(self, messages: imap4.MessageSet, uid: bool) -> list[tuple[int, int, StoredMessage]]:
        """Return number, UID and content of each message in a set that no other session has removed."""
        messages.last = self._store.next_uid - 1 if uid else len(self._uids)
        present = [(number, each) for number, each in enumerate(self._uids, 1) if each in self._store.mail]
        return [(n, each, self._store.mail[each]) for n, each in present if (each if uid else n) in messages]


class Maildrop:
    """A user's mail in one POP3 session, numbered from 0. Raises ValueError for other numbers."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._uids = list(store.mail)
        self._deleted: set[int] = set()
        self.undeleteMessages = self._deleted.clear

    def listMessages(self, i: int | None = None) -> int | list[int]:
        if i is not None:
            return self._size(self._at(i))
        return [self._size(uid) for uid in self._uids]

    def getMessage(self, i: int) -> BytesIO:
        return BytesIO(self._store.read(self._at(i)))

    def getUidl(self, i: int) -> bytes:
        return b"%d" % self._at(i)

    def deleteMessage(self, i: int) -> None:
        self._deleted.add(self._at(i))

    def sync(self) -> None:
        for uid in self._deleted:
            self._store.remove(uid)

    def _at(self, i: int) -> int:
        if not 0 <= i < len(self._uids):
            raise ValueError
        return self._uids[i]

    def _size(self, uid: int) -> int:
        """Return the bytes of a message on the wire, 0 if it is deleted."""
        if uid in self._deleted or uid not in self._store.mail:
            return 0
        return len(self._store.read(uid).replace(b"\n", b"\r\n"))


class Imap(imap4.IMAP4Server):
    """An IMAP server over a user's store."""

    def __init__(self, stores: Stores) -> None:
        super().__init__()
        self._stores = stores

    def authenticateLogin(self, user: bytes, passwd: bytes) -> tuple[object, object, Callable[[], None]]:
        store = log_in(self._stores, user, passwd)
        inbox = Inbox(store)
        store.open.append(inbox)
        account = imap4.MemoryAccount(user)
        account.addMailbox("INBOX", inbox)
        return imap4.IAccount, account, lambda: store.open.remove(inbox)


class Pop3(pop3.POP3):
    """A POP3 server over a user's store."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def authenticateUserPASS(self, user: bytes, password: bytes) -> tuple[object, object, Callable[[], None]]:
        return pop3.IMailbox, Maildrop(log_in(self._stores, user, password)), lambda: None


# -- the process ----------------------------------------------------------------------------------


KINDS: dict[str, Callable[[Stores], protocol.Protocol]] = {"smtp": Smtp, "imap": Imap, "pop3": Pop3}


def _listen(make: Callable[[], protocol.Protocol]) -> int:
    """Listen on a port, with a protocol that ``make`` makes for each connection; return the port."""
    port: int = _reactor.listenTCP(0, protocol.ServerFactory.forProtocol(make), interface=HOST).getHost().port
    return port


def _stop_if_orphaned(parent: int) -> None:
    if os.getppid() != parent:
        _reactor.stop()


def main() -> None:
    """Serve until the parent process ends, or TERM comes."""
    # A terminal sends these signals to all its processes; the parent handles them.
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    settings = json.loads(sys.stdin.readline())
    folder = Path(settings["folder"])
    mail = folder / "mail"
    mail.mkdir()
    stores = {user.encode(): Store(mail / user, password) for user, password in settings["users"].items()}
    ports = {name: _listen(partial(kind, stores)) for name, kind in KINDS.items()}
    print(json.dumps(ports), flush=True)
    task.LoopingCall(_stop_if_orphaned, os.getppid()).start(_WATCH_INTERVAL)
    _reactor.run()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
