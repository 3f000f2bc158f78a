"""Transcripts: the lines that a client, an auth service and a mail server send and receive, to be played.

A transcript starts with ``== title`` and consists of lines ``kind text``:

``way``     protocol, then the directives of its ``server {}``; ``listen`` words in brackets before them
``why``     why nginx and geomail differ here (only then may lines be of only one of them)
``since``   the first version of nginx that does it; older ones are not tested
``alone``   only geomail is tested: nginx would not survive it
``C``       the client sends a line; ``C;`` sends it together with the next one; ``C\\``: bytes, with escapes
``S``       the client receives a line
``TLS``     the client does a TLS handshake, with the certificate of that name, if there is a name
``last``    the client sends a line, and closes its sending side
``pause``   the client waits a moment
``end``     the connection to the client ends
``auth>``   the auth service receives a line; ``auth<`` sends one, in its answer to the lines before
``be>``     the mail server receives a line; ``be<`` sends one

A kind may be followed by ``[nginx]`` or ``[geomail]``: then the line is only of that one.
"""

import hashlib
import re
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from tests.servers.certificates import Certificate, Certificates
from tests.servers.support import LOOPBACK, program
from tests.twin.proxies import Name, Proxy, Way, normal
from tests.twin.recorders import PATIENCE, AuthRecorder, BackendRecorder

CORPUS = Path(__file__).parent / "corpus"
_LINE = re.compile(
    r"(way|why|since|alone|last|pause|C;|C\\|C|S|TLS|end|auth>|auth<|be>|be<)"
    r"(?:\[(nginx|geomail)\])?(?: (.*))?"
)
_WAY = re.compile(r"(\w+)(?: \[(.*?)\])?(?: (.*))?")
_HTTP = re.compile(r" HTTP/1\.[01]$")


@dataclass(frozen=True)
class Step:
    """One line of a transcript."""

    kind: str
    text: str
    only: Name | None


@dataclass
class Transcript:
    """One conversation, for both proxies."""

    title: str
    way: Way = field(default_factory=lambda: Way(""))
    why: str = ""
    since: tuple[int, ...] = ()
    alone: bool = False
    steps: list[Step] = field(default_factory=list)

    def of(self, name: Name, *kinds: str) -> list[Step]:
        """Return the steps of these kinds for one of the proxies."""
        return [step for step in self.steps if step.kind in kinds and step.only in (None, name)]


def transcripts(file: str) -> list[Transcript]:
    """Read all transcripts of a file of the corpus."""
    found: list[Transcript] = []
    for number, line in enumerate((CORPUS / file).read_text().splitlines(), 1):
        if line.startswith("== "):
            found.append(Transcript(line.removeprefix("== ")))
        elif line.strip() and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match is not None, f"{file}:{number}: {line}"
            _take(found[-1], match[1], match[2], match[3] or "")
    for transcript in found:
        differs = transcript.alone or any(step.only for step in transcript.steps)
        assert differs == bool(transcript.why), f"{file}: {transcript.title}: why do they differ?"
    return found


def _take(transcript: Transcript, kind: str, only: str | None, text: str) -> None:
    match kind:
        case "way":
            words = _WAY.fullmatch(text)
            assert words is not None, text
            transcript.way = Way(words[1], words[3] or "", words[2] or "")
        case "why":
            transcript.why = text
        case "since":
            transcript.since = tuple(map(int, text.split(".")))
        case "alone":
            transcript.alone = True
        case _:
            transcript.steps.append(Step(kind, text, only))  # type: ignore[arg-type]  # one of the two names


def play(
    transcript: Transcript,
    proxy: Proxy,
    auth: AuthRecorder,
    backend: BackendRecorder,
    certificates: Certificates,
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Let a client send its lines to a proxy; return all received lines, and the transcript's."""
    names = {str(backend.port): "backend", str(proxy.ports[transcript.way]): "port"}
    for certificate in {step.text for step in transcript.of(proxy.name, "TLS") if step.text}:
        names |= _certificate_names(certificate, getattr(certificates, certificate))
    auth.tell(list(_answers(transcript.of(proxy.name, "auth>", "auth<"), backend.port)))
    backend.tell([step.kind[-1] + step.text for step in transcript.of(proxy.name, "be>", "be<")])
    received = {
        "S": _converse(transcript, proxy, certificates),
        "auth>": auth.settled(),
        "be>": backend.settled(),
    }
    return (
        {kind: [_compared(normal(line, names)) for line in lines] for kind, lines in received.items()},
        {kind: [step.text for step in transcript.of(proxy.name, kind)] for kind in received},
    )


def _certificate_names(name: str, certificate: Certificate) -> dict[str, str]:
    """Return the texts that an auth service gets about a certificate, by names for them."""
    pem = certificate.certificate.read_text()
    escaped = "".join(f"%{ord(c):02X}" if c in " \n%" else c for c in pem)
    fingerprint = hashlib.sha1(ssl.PEM_cert_to_DER_cert(pem), usedforsecurity=False).hexdigest()
    serial = subprocess.run(
        [program("openssl"), "x509", "-noout", "-serial", "-in", certificate.certificate],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return {
        escaped: f"certificate of {name}",
        fingerprint: f"fingerprint of {name}",
        serial.strip().removeprefix("serial="): f"serial of {name}",
    }


def _answers(steps: list[Step], port: int) -> Iterator[list[str]]:
    """Yield the auth service's answers, one after the other."""
    for kind, group in groupby(steps, lambda step: step.kind):
        if kind == "auth<":
            texts = (step.text.replace("{1000 bytes}", "x" * 1000) for step in group)
            yield [text.replace("{backend}", str(port)) for text in texts]


def _converse(transcript: Transcript, proxy: Proxy, certificates: Certificates) -> list[str]:
    """Return the lines that the client receives until its last step, or until the connection ends."""
    received: list[str] = []
    with ExitStack() as opened:
        connection = opened.enter_context(
            socket.create_connection((LOOPBACK, proxy.ports[transcript.way]), PATIENCE)
        )
        stream = opened.enter_context(connection.makefile("rb"))
        pending = b""
        for step in transcript.of(proxy.name, "C", "C;", "C\\", "S", "TLS", "end", "last", "pause"):
            if step.kind.startswith("C") or step.kind == "last":
                pending += _bytes(step)
                if step.kind != "C;":
                    connection.sendall(pending)
                    pending = b""
                if step.kind == "last":
                    connection.shutdown(socket.SHUT_WR)
            elif step.kind == "pause":
                time.sleep(0.2)
            elif step.kind == "TLS":
                stream.close()
                tls = certificates.client_context()
                if step.text:
                    shown = getattr(certificates, step.text)
                    tls.load_cert_chain(shown.certificate, shown.key)
                connection = opened.enter_context(tls.wrap_socket(connection, server_hostname="localhost"))
                stream = opened.enter_context(connection.makefile("rb"))
            else:
                line = _line(stream)
                if step.kind == "end" or not line:
                    assert not line, f"the connection must end after {received}, but {line!r} came"
                    break
                received.append(line.decode("latin-1").removesuffix("\n").removesuffix("\r"))
    return received


def _line(stream: object) -> bytes:
    try:
        line: bytes = stream.readline()  # type: ignore[attr-defined]
    except ConnectionResetError:
        return b""
    return line


def _bytes(step: Step) -> bytes:
    if step.kind == "C\\":
        return step.text.encode("latin-1").decode("unicode_escape").encode("latin-1")
    return step.text.encode() + b"\r\n"


def _compared(line: str) -> str:
    return _HTTP.sub(" HTTP/1.x", line)
