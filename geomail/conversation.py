"""The conversation: all that a dialogue can do with one connection.

The protocol files speak to a :class:`Conversation` in blocking style. Two
classes implement it: ``net.wire.Wire``, the real connection, and
:class:`Rehearsal`, which sends nothing. Masking, tracing and the refusal of line
breaks happen here, once, for both.
"""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from geomail.errors import LineBreakError, LineTooLong, PeerGone, ProtocolViolation, Side

#: A function of the direction, the line as it may be shown, and the reason for it.
#: The direction is geomail's: ``>`` sent to the peer, ``<`` received from it.
Tracer = Callable[[Literal[">", "<"], bytes, str], None]
#: A function that returns a received line as it may be shown, without secrets.
Mask = Callable[[bytes], bytes]

SECRET: Final = b"********"
#: Numbers, not bytes: ``in`` finds a number faster, as it first tries to read ``b"\r"`` as one.
NUL: Final = 0x00
LF: Final = 0x0A
CR: Final = 0x0D
#: The place of a TLS handshake among the lines.
TLS_HANDSHAKE = b"<TLS handshake>"


def mask_all(_line: bytes) -> bytes:
    """Hide a whole line: the mask for a SASL response, for example."""
    return SECRET


class Conversation(metaclass=ABCMeta):
    """One connection, as the dialogues see it.

    ``peer`` is the side that is spoken to. ``step`` names the present step of the
    dialogue, for the report of how it ended.
    """

    __slots__ = ("peer", "remarks", "step", "tracer")

    def __init__(self, peer: Side) -> None:
        self.peer: Side = peer
        self.tracer: Tracer | None = None
        self.step = ""
        self.remarks: tuple[str, ...] = ()

    def remark(self, text: str) -> None:
        """Add to ``remarks`` a text that the operator should read; the session goes on."""
        self.remarks += (text,)

    def send_line(self, line: bytes, shown: bytes | None = None, because: str = "") -> None:
        """Send one line; CRLF is added.

        ``shown`` replaces the line wherever it is shown; a line with a secret
        must have it. ``because`` names the option or rule that caused the line.
        Raises LineBreakError if the line holds CR, LF or NUL: there is no other
        way to make a line.
        """
        if LF in line or CR in line or NUL in line:
            raise LineBreakError("a line break or NUL inside a line to be sent")
        if self.tracer is not None:
            self.tracer(">", line if shown is None else shown, because)
        self.send(line + b"\r\n")

    def send_lines(
        self, lines: Sequence[bytes], shown: Sequence[bytes] | None = None, because: str = ""
    ) -> None:
        """Send several lines in one write; rules as for :meth:`send_line`."""
        for line in lines:
            if LF in line or CR in line or NUL in line:
                raise LineBreakError("a line break or NUL inside a line to be sent")
        if self.tracer is not None:
            for line in lines if shown is None else shown:
                self.tracer(">", line, because)
        self.send(b"\r\n".join(lines) + b"\r\n")

    def send_bytes(self, data: bytes, shown: bytes, because: str = "") -> None:
        """Send bytes that are not a line (a PROXY header)."""
        if self.tracer is not None:
            self.tracer(">", shown, because)
        self.send(data)

    def read_line(self, limit: int, mask: Mask | None = None, because: str = "") -> bytes:
        """Read one line, without its LF or CRLF; a CR elsewhere stays in it.

        ``because`` names the line for which the dialogue waits. Raises LineTooLong
        if the line and its end are more than ``limit`` bytes, PeerGone at the end
        of the stream (an incomplete line is dropped).
        """
        line = self._read_line(limit)
        if self.tracer is not None:
            self.tracer("<", line if mask is None else mask(line), because)
        return line

    def read_exactly(self, size: int, mask: Mask | None = None) -> bytes:
        """Read ``size`` bytes (an IMAP literal). Raises PeerGone if the stream ends earlier."""
        data = self._read_exactly(size)
        if self.tracer is not None:
            self.tracer("<", data if mask is None else mask(data), "")
        return data

    @property
    @abstractmethod
    def secured(self) -> bool:
        """True while TLS is active."""

    @property
    def exposed(self) -> bool:
        """True if a third party could read the bytes: no TLS, and the peer is on another machine."""
        return False

    def start_tls(self, because: str = "") -> None:
        """Do the TLS handshake, as the server or the client that geomail is here.

        Raises TlsFailed, PeerGone, and ProtocolViolation if bytes were sent before
        the handshake: an attacker may have put them there, to be read as if under TLS.
        """
        if self.tracer is not None:
            self.tracer(">", TLS_HANDSHAKE, because)
        self._start_tls()

    @abstractmethod
    def _start_tls(self) -> None: ...

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send bytes as they are; dialogues use the methods above instead."""

    @abstractmethod
    def _read_line(self, limit: int) -> bytes: ...

    @abstractmethod
    def _read_exactly(self, size: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a rehearsed dialogue, as it may be shown."""

    sender: Literal["geomail", "peer"]
    line: bytes
    because: str = ""


#: A function that returns the peer's answer to a line: lines without line ends.
Script = Callable[[bytes], Iterable[bytes]]


class Rehearsal(Conversation):
    """A conversation without a connection: it records the sent lines, and answers from a script.

    ``Rehearsal(b"220 hi", b"250 ok")`` answers with these lines in order. If
    ``answers`` is given, it is called with each sent line; the lines that it
    returns come after the lines in order, which may be a greeting. ``said`` holds
    the sent lines as they would be on the wire, ``steps`` holds the lines of both
    sides as they may be shown. ``remote``: the peer counts as on another machine.
    """

    __slots__ = ("_answers", "_has_read", "_is_remote", "_secured", "_unread", "said", "steps")

    def __init__(
        self,
        *script: bytes,
        peer: Side = "backend",
        answers: Script | None = None,
        secured: bool = False,
        remote: bool = False,
    ) -> None:
        super().__init__(peer)
        self.said: list[bytes] = []
        self.steps: list[Step] = []
        self.tracer = self._record
        self._answers = answers
        self._unread = b"".join(line + b"\r\n" for line in script)
        self._has_read = False
        self._secured = secured
        self._is_remote = remote

    @property
    def secured(self) -> bool:
        return self._secured

    @property
    def exposed(self) -> bool:
        return self._is_remote and not self._secured

    def _start_tls(self) -> None:
        # before the first read, the waiting lines are yet to come: the greeting behind implicit TLS
        if self._answers is not None and self._has_read and self._unread:
            raise ProtocolViolation("bytes were sent ahead of the TLS handshake", blame=self.peer)
        self._secured = True
        self.said.append(TLS_HANDSHAKE)

    def send_bytes(self, data: bytes, shown: bytes, because: str = "") -> None:
        """Record bytes that are not a line; the script does not answer them."""
        if self.tracer is not None:
            self.tracer(">", shown, because)
        self.said.append(data.removesuffix(b"\r\n"))

    def _record(self, direction: str, line: bytes, because: str) -> None:
        self.steps.append(Step("geomail" if direction == ">" else "peer", line, because))

    def send(self, data: bytes) -> None:
        said = data.removesuffix(b"\r\n").split(b"\r\n")
        self.said.extend(said)
        if self._answers is not None:
            for line in said:
                self._unread += b"".join(answer + b"\r\n" for answer in self._answers(line))

    def _read_line(self, limit: int) -> bytes:
        self._has_read = True
        end = self._unread.find(b"\n", 0, limit)
        if end < 0:
            if len(self._unread) >= limit:
                raise LineTooLong(f"line over {limit} bytes", blame=self.peer, start=self._unread)
            raise PeerGone("the script has ended", blame=self.peer)
        line, self._unread = self._unread[:end], self._unread[end + 1 :]
        return line.removesuffix(b"\r")

    def _read_exactly(self, size: int) -> bytes:
        self._has_read = True
        if len(self._unread) < size:
            raise PeerGone("the script has ended", blame=self.peer)
        data, self._unread = self._unread[:size], self._unread[size:]
        return data
