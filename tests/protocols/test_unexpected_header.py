"""A backend that takes the PROXY header for commands: named as the likely cause, and no wrong password."""

from dataclasses import replace
from typing import Literal

import pytest

from geomail.conversation import Rehearsal
from geomail.errors import BackendRefused, SessionError, TlsFailed
from geomail.parties import Login, Password
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.dialogue import BackendDialogue
from geomail.protocols.registry import PROTOCOLS
from tests.protocols.support import OPTIONS, client_at, server

LOGIN = Login(Password(b"u", b"p"), tag=b"a", helo=b"me", esmtp=True)
ON = replace(OPTIONS, proxy_protocol="on", passthrough=True)
HELLO = [b"220 hi", b"250-be", b"250 AUTH PLAIN"]


def failure(protocol: str, script: list[bytes], options: HandshakeOptions = ON) -> SessionError:
    with pytest.raises(SessionError) as caught:
        PROTOCOLS[protocol](server(protocol)).handshake(Rehearsal(*script), LOGIN, client_at(), options)
    return caught.value


SUSPECT = [
    ("pop3", [b"+OK Dovecot ready.", b"-ERR Unknown command.", b"+OK", b"+OK Logged in."]),
    ("pop3", [b"-ERR Unknown command."]),
    ("pop3", [b"+OK hi"]),
    ("pop3", []),
    ("imap", [b"* OK hi", b"PROXY BAD Error in IMAP command TCP4: Unknown command", b"a OK"]),
    ("imap", [b"* OK [CAPABILITY LITERAL+] hi", b"* BAD no", b"QUIT BAD no"]),
    ("imap", [b"* BAD what"]),
    ("imap", [b"* OK hi", b"* BYE too many bad commands"]),
    ("smtp", [b"220 hi", b"502 5.5.2 Error: command not recognized", b"250 be"]),
    ("smtp", [b"220 hi", b"500 5.5.2 Error: bad syntax", b"221 Bye"]),
    ("smtp", [b"554 5.5.1 Error: protocol"]),
    ("smtp", [b"220 hi"]),
]
#: What does not tell of a header that was not understood: an answer to geomail's own commands.
INNOCENT = [
    ("pop3", [b"-ERR [SYS/TEMP] busy"]),
    ("pop3", [b"+OK hi", b"-ERR [AUTH] who"]),
    ("pop3", [b"+OK hi", b"+OK", b"-ERR no"]),
    ("pop3", [b"+OK hi", b"+OK"]),
    ("imap", [b"* OK [CAPABILITY LITERAL+] hi", b"a NO wrong"]),
    ("imap", [b"* OK hi", b"a BAD what"]),
    ("imap", [b"* OK hi", b"a NO [PRIVACYREQUIRED] TLS"]),
    ("imap", [b"* BYE [UNAVAILABLE] later"]),
    ("smtp", [b"421 4.3.2 busy"]),
    ("smtp", [*HELLO, b"220 hi", b"250 be", b"535 5.7.8 no"]),
    ("smtp", [*HELLO, b"550 5.7.0 XCLIENT"]),
    ("smtp", HELLO),
]


@pytest.mark.parametrize(("protocol", "script"), SUSPECT, ids=repr)
@pytest.mark.parametrize("version", ["on", "v2"])
def test_the_header_is_named(protocol: str, script: list[bytes], version: Literal["on", "v2"]) -> None:
    options = replace(ON, proxy_protocol=version)
    error = failure(protocol, script, options)

    assert error.hint.startswith("perhaps the backend does not expect the PROXY header (proxy_protocol = ")
    assert f'"{version}"' in error.hint
    assert not getattr(error, "credentials", False), "and nobody is told that a password is wrong"


@pytest.mark.parametrize(("protocol", "script"), INNOCENT, ids=repr)
def test_it_is_not_named_where_it_was_understood(protocol: str, script: list[bytes]) -> None:
    assert failure(protocol, script).hint == ""


@pytest.mark.parametrize(("protocol", "script"), SUSPECT, ids=repr)
def test_it_is_not_named_where_none_is_sent(protocol: str, script: list[bytes]) -> None:
    assert failure(protocol, script, replace(ON, proxy_protocol="off")).hint == ""


def test_implicit_tls_behind_a_header() -> None:
    """The backend takes the header for a handshake, and hangs up."""

    with pytest.raises(TlsFailed) as caught, BackendDialogue(Rehearsal()) as dialogue:
        dialogue.open(client_at(), replace(ON, tls="implicit"))
        dialogue.backend.step = "TLS"
        raise TlsFailed("the handshake failed", blame="backend")

    assert caught.value.hint


def test_a_backend_that_refuses_the_user_has_not_judged_a_password() -> None:
    error = failure("pop3", [b"+OK", b"-ERR no such mailbox"], replace(ON, proxy_protocol="off"))

    assert isinstance(error, BackendRefused)
    assert (error.step, error.credentials) == ("USER", False)
