"""What a dialogue may do with one connection, and nothing else.

The protocol files speak to a :class:`Conversation` in blocking style. Two
classes stand behind it: ``net.wire.Wire``, the real connection, and
:class:`Rehearsal`, which says nothing to anyone. Masking, tracing and the
refusal of line breaks happen here, once, for both.
"""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from geomail.errors import LineBreakError, LineTooLong, PeerGone, ProtocolViolation, Side

#: ``(direction, line as it may be shown, why it is said)``; the direction is
#: seen from geomail: ``>`` sent to the peer, ``<`` received from it.
Tracer = Callable[[Literal[">", "<"], bytes, str], None]
#: Turns a received line into what may be shown of it.
Mask = Callable[[bytes], bytes]

SECRET: Final = b"********"
#: As numbers: ``in`` looks for a byte at once, where it takes ``b"\r"`` for a failed number first.
NUL: Final = 0x00
LF: Final = 0x0A
CR: Final = 0x0D
#: Stands for a TLS handshake among the lines.
TLS_HANDSHAKE = b"<TLS handshake>"


def hidden(_line: bytes) -> bytes:
    """Mask that shows nothing of a line (a SASL response, say)."""
    return SECRET


class Conversation(metaclass=ABCMeta):
    """One connection, as the dialogues see it.

    ``step`` is what its dialogue is at, for whoever has to tell how it ended.
    """

    __slots__ = ("peer", "remarks", "step", "tracer")

    def __init__(self, peer: Side) -> None:
        self.peer: Side = peer
        self.tracer: Tracer | None = None
        self.step = ""
        self.remarks: tuple[str, ...] = ()

    def remark(self, text: str) -> None:
        """Note in ``remarks`` what the operator should hear of and what ends nothing."""
        self.remarks += (text,)

    def send_line(self, line: bytes, shown: bytes | None = None, because: str = "") -> None:
        """Send one line; CRLF is added.

        ``shown`` replaces the line wherever it is shown (a line that holds a
        secret always gives it), ``because`` names the option or rule that
        caused it. Raises LineBreakError if the line holds CR, LF or NUL:
        there is no other way to make a line.
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
        """Send bytes that are no line (a PROXY header)."""
        if self.tracer is not None:
            self.tracer(">", shown, because)
        self.send(data)

    def read_line(self, limit: int, mask: Mask | None = None, because: str = "") -> bytes:
        """Read one line, without its LF or CRLF; a CR elsewhere stays in it.

        ``because`` names what is waited for. Raises LineTooLong if the line
        and its end are more than ``limit`` bytes, PeerGone at the end of the
        stream (a half line is dropped).
        """
        line = self._read_line(limit)
        if self.tracer is not None:
            self.tracer("<", line if mask is None else mask(line), because)
        return line

    def read_exactly(self, size: int, mask: Mask | None = None) -> bytes:
        """Read ``size`` bytes, an IMAP literal say. Raises PeerGone if the stream ends before."""
        data = self._read_exactly(size)
        if self.tracer is not None:
            self.tracer("<", data if mask is None else mask(data), "")
        return data

    @property
    @abstractmethod
    def secured(self) -> bool:
        """Whether TLS is active."""

    @property
    def exposed(self) -> bool:
        """Tell whether others could read along: without TLS, to another machine."""
        return False

    def start_tls(self, because: str = "") -> None:
        """Do the TLS handshake, on the side that this connection is on.

        Raises ProtocolViolation if bytes are waiting that were sent before
        it (an attacker's, to be taken as said under TLS), TlsFailed, PeerGone.
        """
        if self.tracer is not None:
            self.tracer(">", TLS_HANDSHAKE, because)
        self._start_tls()

    @abstractmethod
    def _start_tls(self) -> None: ...

    @abstractmethod
    def send(self, data: bytes) -> None:
        """Send bytes as they are; dialogues leave that to the methods above."""

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


#: The answer to what was said last: lines without line ends.
Script = Callable[[bytes], Iterable[bytes]]


class Rehearsal(Conversation):
    """A conversation with nobody: records what is said, answers from a script.

    ``Rehearsal(b"220 hi", b"250 ok")`` answers with these lines in order;
    ``answers`` is asked with each line that was sent and gives the lines that
    come back, after those given in order: a greeting, say. ``said`` holds the
    lines sent as they would stand on the wire, ``steps`` both sides as they
    may be shown. ``remote``: the peer is thought to be on another machine.
    """

    __slots__ = ("_answers", "_heard", "_is_remote", "_listened", "_secured", "said", "steps")

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
        self._heard = b"".join(line + b"\r\n" for line in script)
        self._listened = False
        self._secured = secured
        self._is_remote = remote

    @property
    def secured(self) -> bool:
        return self._secured

    @property
    def exposed(self) -> bool:
        return self._is_remote and not self._secured

    def _start_tls(self) -> None:
        # what was never listened for is yet to come: the greeting behind implicit TLS
        if self._answers is not None and self._listened and self._heard:
            raise ProtocolViolation("bytes were sent ahead of the TLS handshake", blame=self.peer)
        self._secured = True
        self.said.append(TLS_HANDSHAKE)

    def send_bytes(self, data: bytes, shown: bytes, because: str = "") -> None:
        """Record bytes that are no line; the script is not asked about them."""
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
                self._heard += b"".join(answer + b"\r\n" for answer in self._answers(line))

    def _read_line(self, limit: int) -> bytes:
        self._listened = True
        end = self._heard.find(b"\n", 0, limit)
        if end < 0:
            if len(self._heard) >= limit:
                raise LineTooLong(f"line over {limit} bytes", blame=self.peer, start=self._heard)
            raise PeerGone("the script has ended", blame=self.peer)
        line, self._heard = self._heard[:end], self._heard[end + 1 :]
        return line.removesuffix(b"\r")

    def _read_exactly(self, size: int) -> bytes:
        self._listened = True
        if len(self._heard) < size:
            raise PeerGone("the script has ended", blame=self.peer)
        data, self._heard = self._heard[:size], self._heard[size:]
        return data
