"""TLS sessions: some can be resumed, others must not be."""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from geomail.net.session_cache import get_shared_cache
from tests.net.pki import Pki
from tests.net.support import PATIENCE
from tests.net.tls_support import V12, V13, VERSIONS, client, listening, meet, s_client, serving, settings

ROOT = Path(__file__).parents[2]

#: ssl_session_cache, ssl_session_tickets, and whether TLS 1.2 and 1.3 resume.
CACHES = [
    ("none", True, True),
    ("off", True, True),
    ("builtin", True, True),
    ("shared:row:64k", True, True),
    ("none", False, False),
    ("off", False, False),
    ("builtin", False, True),
    ("builtin:100", False, True),
    ("shared:row:64k", False, True),
    ("shared:Row:32K", False, True),
    ("builtin:100 shared:row:1m", False, True),
    ("shared:row:1m builtin", False, True),
]


def keys(pki: Pki, *sizes: int) -> list[str]:
    return [pki.file(f"ticket-{os.urandom(4).hex()}.key", os.urandom(size)) for size in sizes]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("cache", "tickets", "resumed"), CACHES)
def test_caches_and_tickets(
    cache: str, tickets: bool, resumed: bool, version: ssl.TLSVersion, pki: Pki
) -> None:
    listener = listening(pki.ec, session_cache=cache, session_tickets=tickets)
    visitor = client(pki, version)

    first = meet(listener, visitor)

    assert not first.resumed
    if version == V13 and not resumed:
        assert first.tls.session is None or not first.tls.session.has_ticket  # no useless ticket is sent
    assert meet(listener, visitor, first.tls.session).resumed is resumed


def test_none_pretends_and_off_does_not(pki: Pki) -> None:
    visitor = client(pki, V12)

    ids = [
        meet(listening(pki.ec, session_cache=cache, session_tickets=False), visitor).session.id
        for cache in ("none", "off")
    ]

    assert [len(session_id) for session_id in ids] == [32, 0]


@pytest.mark.parametrize("version", VERSIONS)
def test_one_ticket_by_default(version: ssl.TLSVersion, pki: Pki) -> None:
    with serving(listening(pki.ec)) as (port, _):
        said = s_client(port, "-tls1_3" if version == V13 else "-tls1_2")

    assert said.count("TLS session ticket:") == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("tickets", "command", "resumed"),
    [(True, "-SessionTicket", False), (False, "SessionTicket", True)],
)
def test_conf_command_switches_tickets(
    tickets: bool, command: str, resumed: bool, version: ssl.TLSVersion, pki: Pki
) -> None:
    listener = listening(pki.ec, session_tickets=tickets, conf_command=[("Options", command)])
    visitor = client(pki, version)

    first = meet(listener, visitor)

    assert meet(listener, visitor, first.tls.session).resumed is resumed
    if version == V13:
        assert (first.tls.session is not None and first.tls.session.has_ticket) is resumed


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("tickets", [True, False])
def test_a_session_ends_with_its_time(tickets: bool, version: ssl.TLSVersion, pki: Pki) -> None:
    cache = "none" if tickets else "shared:timeout:64k"
    listener = listening(pki.ec, session_timeout=1.0, session_tickets=tickets, session_cache=cache)
    visitor = client(pki, version)
    session = meet(listener, visitor).session
    assert meet(listener, visitor, session).resumed

    time.sleep(max(0, session.time + 2.05 - time.time()))

    assert not meet(listener, visitor, session).resumed


# -- keys of tickets ------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sizes", [(80,), (48,), (80, 48), (48, 80, 80)])
def test_two_servers_with_the_same_keys(sizes: tuple[int, ...], version: ssl.TLSVersion, pki: Pki) -> None:
    files = keys(pki, *sizes)
    first, second = (listening(pki.ec, session_ticket_key=files) for _ in range(2))
    visitor = client(pki, version)

    session = meet(first, visitor).session

    assert meet(second, visitor, session).resumed
    assert meet(first, visitor, session).resumed


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("old", "new"), [(80, 80), (48, 48), (80, 48), (48, 80)])
def test_keys_are_rotated(old: int, new: int, version: ssl.TLSVersion, pki: Pki) -> None:
    [former], [latter] = keys(pki, old), keys(pki, new)
    before = listening(pki.ec, session_ticket_key=[former])
    after = listening(pki.ec, session_ticket_key=[latter, former])
    later = listening(pki.ec, session_ticket_key=[latter])
    visitor = client(pki, version)

    session = meet(before, visitor).session
    renewed = meet(after, visitor, session)

    assert renewed.resumed
    assert not meet(later, visitor, session).resumed
    assert meet(later, visitor, renewed.session).resumed  # it got a ticket of the new key


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sizes", [(80,), (48,), (80, 48)])
def test_a_ticket_of_the_newest_key_is_renewed_in_tls_1_3_only(
    sizes: tuple[int, ...], version: ssl.TLSVersion, pki: Pki
) -> None:
    listener, visitor = listening(pki.ec, session_ticket_key=keys(pki, *sizes)), client(pki, version)

    with serving(listener) as (port, _):
        file = pki.file("session.pem", "")
        option = "-tls1_3" if version == V13 else "-tls1_2"
        s_client(port, option, "-sess_out", file)
        said = s_client(port, option, "-sess_in", file)

    assert "Reused, TLSv1." in said
    assert meet(listener, visitor).channel.version_and_cipher[0] == version.name.replace("_", ".")
    if version == V13:
        assert said.count("Post-Handshake New Session Ticket arrived") == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("sizes", [(80,), (80, 80)])
def test_a_forged_ticket_is_no_ticket(sizes: tuple[int, ...], version: ssl.TLSVersion, pki: Pki) -> None:
    mine, theirs = keys(pki, *sizes), keys(pki, *sizes)
    named_alike = [
        pki.file(f"alike-{index}.key", Path(own).read_bytes()[:16] + Path(other).read_bytes()[16:])
        for index, (own, other) in enumerate(zip(mine, theirs, strict=True))
    ]
    visitor = client(pki, version)

    forged = meet(listening(pki.ec, session_ticket_key=named_alike), visitor).session

    assert not meet(listening(pki.ec, session_ticket_key=mine), visitor, forged).resumed


# -- refused --------------------------------------------------------------------------------------

Change = Callable[[Pki], dict[str, Any]]
VERIFYING: dict[str, Any] = {"verify_client": "optional_no_ca"}
DIFFERENT: list[Change] = [
    lambda pki: {"certificates": [(pki.rsa.certificate, pki.rsa.key)]},
    lambda pki: {
        "certificates": [(pki.ec.certificate, pki.ec.key), (pki.rsa.certificate, pki.rsa.key)],
    },
    lambda pki: {"conf_command": [("Certificate", pki.rsa.certificate), ("PrivateKey", pki.rsa.key)]},
    lambda pki: {"alpn": "imap"},
    lambda pki: VERIFYING,
    lambda pki: {"verify_depth": 2},
    lambda pki: {"trusted_certificate": pki.ca.certificate},
    lambda pki: {"verify_client": "optional", "client_certificate": pki.ca.certificate},
    lambda pki: {"trusted_certificate": pki.ca.certificate, "crl": pki.crl},
]


@pytest.mark.parametrize("by", ["tickets", "shared cache"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("change", DIFFERENT)
def test_sessions_do_not_cross_between_servers_that_differ(
    change: Change, version: ssl.TLSVersion, by: str, pki: Pki
) -> None:
    common: dict[str, Any] = (
        {"session_ticket_key": keys(pki, 80)}
        if by == "tickets"
        else {"session_cache": "shared:crossing:64k", "session_tickets": False}
    )
    one, same = (listening(pki.ec, **common) for _ in range(2))
    other = listening(pki.ec, **{**common, **change(pki)})
    visitor = client(pki, version)

    session = meet(one, visitor).session

    assert meet(same, visitor, session).resumed
    assert not meet(other, visitor, session).resumed


@pytest.mark.parametrize("version", VERSIONS)
def test_two_servers_without_keys_in_common(version: ssl.TLSVersion, pki: Pki) -> None:
    visitor = client(pki, version)

    session = meet(listening(pki.ec), visitor).session

    assert not meet(listening(pki.ec), visitor, session).resumed


def test_tickets_leave_the_shared_cache_empty(pki: Pki) -> None:
    listener = listening(pki.ec, session_cache="shared:empty:64k")

    meet(listener, client(pki))

    assert not any(get_shared_cache("empty", 1 << 16)._memory[:])


def test_a_session_with_a_long_certificate_is_shared(pki: Pki) -> None:
    large = pki.named("large", "/CN=large" + "".join(f"/OU={number:060}" for number in range(60)))
    listener = listening(
        pki.ec, verify_client="optional_no_ca", session_cache="shared:large:64k", session_tickets=False
    )
    visitor = client(pki, V12, shown=large)

    first = meet(listener, visitor)
    again = meet(listener, visitor, first.session)

    assert len(first.channel.client_certificate.der) > 3000
    assert again.resumed
    assert again.channel.client_certificate == first.channel.client_certificate


# -- workers --------------------------------------------------------------------------------------


@contextmanager
def workers(**keywords: Any) -> Iterator[list[int]]:
    """Run two workers that were forked with one context; give their ports."""
    command = [sys.executable, "-m", "tests.net.forked_workers"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as master:
        assert master.stdin is not None
        assert master.stdout is not None
        try:
            master.stdin.write(json.dumps(keywords).encode() + b"\n")
            master.stdin.flush()
            yield json.loads(master.stdout.readline())
        finally:
            master.stdin.close()


def _visit(
    port: int, visitor: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLSession | None, bool]:
    """Return the session, and whether it was resumed."""
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as sock,
        visitor.wrap_socket(sock, server_hostname="localhost", session=session) as tls,
    ):
        assert tls.recv(100) == b"220 \r\n"
        return tls.session, bool(tls.session_reused)


#: Settings, and whether a second worker resumes what the first began.
ACROSS: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"session_cache": "off"}, True),
    ({"session_cache": "builtin"}, True),
    ({"session_cache": "shared:workers:1m"}, True),
    ({"session_cache": "shared:workers:1m", "session_tickets": False}, True),
    ({"session_cache": "builtin shared:workers:1m", "session_tickets": False}, True),
    ({"session_cache": "builtin", "session_tickets": False}, False),
    ({"session_cache": "none", "session_tickets": False}, False),
]


@pytest.mark.parametrize(("keywords", "resumed"), ACROSS)
def test_across_workers(keywords: dict[str, Any], resumed: bool, pki: Pki) -> None:
    with workers(**settings(pki.ec, **keywords)) as (first, second):
        for version in VERSIONS:
            visitor = client(pki, version)
            session, reused = _visit(first, visitor)
            assert not reused

            assert _visit(second, visitor, session)[1] is resumed


def test_across_workers_with_keys(pki: Pki) -> None:
    files = keys(pki, 48, 80)
    with workers(**settings(pki.ec, session_ticket_key=files)) as (first, second):
        for version in VERSIONS:
            visitor = client(pki, version)
            session, _ = _visit(first, visitor)

            assert _visit(second, visitor, session)[1]
