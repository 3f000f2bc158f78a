"""A password that goes out where others can read it is remarked on, in each protocol, and no other is."""

from dataclasses import replace

import pytest

from geomail.conversation import Rehearsal
from geomail.parties import Login, Password
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.registry import PROTOCOLS
from tests.protocols.support import OPTIONS, client_at, server

SCRIPTS = {
    "smtp": (b"220 b", b"250-b", b"250 AUTH PLAIN", b"235 in"),
    "imap": (b"* OK b", b"+ go on", b"+ go on", b"a OK in"),
    "pop3": (b"+OK b", b"+OK", b"+OK"),
}
LOGIN = Login(Password(b"jane", b"secret"), tag=b"a", helo=b"h", esmtp=True)
LOGS_IN = replace(OPTIONS, authenticate=True, xclient="off")


def remarks(
    protocol: str, *script: bytes, remote: bool, options: HandshakeOptions = LOGS_IN
) -> tuple[str, ...]:
    backend = Rehearsal(*script, remote=remote)
    spoken = PROTOCOLS[protocol](server(protocol, auth="passthrough"))
    spoken.handshake(backend, LOGIN, client_at(), options)
    return backend.remarks


@pytest.mark.parametrize("protocol", SCRIPTS)
def test_a_password_in_clear_to_another_machine_is_remarked_on(protocol: str) -> None:
    (remark,) = remarks(protocol, *SCRIPTS[protocol], remote=True)

    assert remark == "the password is sent in clear to another machine: the backend has no tls"


@pytest.mark.parametrize("protocol", SCRIPTS)
def test_one_under_tls_or_on_this_machine_is_not(protocol: str) -> None:
    assert remarks(protocol, *SCRIPTS[protocol], remote=True, options=replace(LOGS_IN, tls="implicit")) == ()
    assert remarks(protocol, *SCRIPTS[protocol], remote=False) == ()


def test_where_no_password_is_told_there_is_nothing_to_say() -> None:
    silent = replace(LOGS_IN, authenticate=False)
    assert remarks("smtp", b"220 b", b"250 b", remote=True, options=silent) == ()
