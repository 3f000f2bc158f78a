"""Every session ends with one of geomail's own outcomes, and never as a bug, whatever its peers send."""

import random
import socket
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from geomail.net import resolver
from tests.fuzz import words
from tests.fuzz.house import PROTOCOLS, House, housing
from tests.servers.certificates import Certificates

#: Cases of each kind: a few each time, all in the long tests. A number determines each case.
FEW, ALL = range(300), range(10_000)
amount = pytest.mark.parametrize(
    "cases", [pytest.param(FEW, id="a few"), pytest.param(ALL, id="all", marks=[pytest.mark.long])]
)
patient = pytest.mark.timeout(900)


def no_such_host(host: str, *_: object, **__: object) -> list[tuple[Any, ...]]:
    """Fail in place of the system's resolver: no query leaves this machine."""
    if host == "localhost":
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


@pytest.fixture
def house(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """Run geomail with hostile servers; an unhandled exception in a greenlet is a bug too."""
    monkeypatch.setattr(resolver, "getaddrinfo", no_such_host)
    with housing(certificates) as house:

        def note_error(_context: object, kind: type[BaseException], value: object, _trace: object) -> None:
            house.bugs.append(f"{kind.__name__}: {value}")

        monkeypatch.setattr(gevent.get_hub(), "handle_error", note_error)
        yield house


Case = Callable[[House, int], None]


def auth_answers(house: House, number: int) -> None:
    rng = random.Random(f"auth {number}")
    protocol = rng.choice(PROTOCOLS)
    house.liar = lambda protocol: words.Liar(rng, protocol, honest=9, lies=0)
    house.auth = lambda: words.auth_answer(rng, [house.backends[protocol]])
    server = rng.choice((protocol, f"{protocol} auth", f"{protocol} proxied"))
    header = words.proxy_header(rng) if server.endswith("proxied") and rng.random() < 0.5 else b""
    if server.endswith("proxied") and not header:
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    house.talk(server, words.split(rng, header + words.LOGIN[protocol] * rng.choice((1, 1, 3))))


def backends(house: House, number: int) -> None:
    rng = random.Random(f"backend {number}")
    protocol = rng.choice(PROTOCOLS)
    house.liar = lambda protocol: words.Liar(rng, protocol, rng.randint(0, 7), rng.randint(0, 4))
    login = words.LOGIN[protocol]
    if protocol == "smtp" and rng.random() < 0.3:
        login = b"EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u@off>\r\n"
    tls = rng.choice((b"@off",) * 5 + (b"@starttls", b"@implicit"))
    login = login.replace(b"u@off", b"u" + tls) if b"@off" in login else login
    house.talk(rng.choice((f"{protocol} through", f"{protocol} on")), [login])


#: Servers of each protocol; the ones that lead to the longest dialogues come more often.
KINDS = (
    "",
    "",
    "",
    " auth",
    " auth",
    " through",
    " through",
    " on",
    " strict",
    " ssl",
    " proxied",
    " proxied",
)


def openings(house: House, number: int) -> None:
    rng = random.Random(f"client {number}")
    protocol = rng.choice(PROTOCOLS)
    house.liar = lambda protocol: words.Liar(rng, protocol, rng.randint(0, 7), rng.randint(0, 4))
    house.auth = lambda: words.auth_answer(rng, [house.backends[protocol]])
    server = protocol + rng.choice(KINDS)
    said = words.opening(rng, protocol)
    if server.endswith("proxied"):
        said = words.proxy_header(rng) + said
    elif server.endswith("ssl"):
        said = words.client_hello(rng) + said
    elif rng.random() < 0.1:
        said += words.client_hello(rng)
    house.talk(server, words.split(rng, said))


@patient
@amount
@pytest.mark.parametrize("play", [auth_answers, backends, openings])
def test_no_peer_makes_a_session_end_as_a_bug(house: House, play: Case, cases: range) -> None:
    house.run(cases, play)

    assert house.bugs == []
    assert len(house.endings) >= 4, "it does not go deep"
