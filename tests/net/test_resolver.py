"""Every row of nginx's table of client names, against a real DNS server; and the addresses of hosts."""

import socket
import time
from _socket import socket as RawSocket
from collections.abc import Callable

import dns.message
import dns.rcode
import dns.rrset
import gevent
import pytest
from dns.message import Message
from gevent.socket import getaddrinfo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geomail.net import lookups, nameservers, resolver
from geomail.net.resolver import ClientName, Resolver, get_ip_family, normalise_host
from tests.net.name_server import NOTHING, NameServer, Reply, Zone, answer_to, truncated
from tests.net.support import PATIENCE
from tests.servers.support import free_port

ADDRESS = "192.0.2.7"
POINTER = "7.2.0.192.in-addr.arpa. PTR"
PTR = "7.2.0.192.in-addr.arpa. 60 IN PTR client.test."
A, AAAA = "client.test. A", "client.test. AAAA"
HERE = "client.test. 60 IN A 192.0.2.7"
FOUND: dict[str, Reply] = {POINTER: (PTR,), A: (HERE,), AAAA: NOTHING}

UNAVAILABLE = ClientName(None)
TEMPUNAVAIL = ClientName(None, temporary=True)


@pytest.fixture(scope="module", autouse=True)
def _threads_are_there() -> None:
    """Fill gevent's pool of threads before leaks are counted: its threads stay."""
    gevent.joinall([gevent.spawn(getaddrinfo, "localhost", None) for _ in range(40)], raise_error=True)


def unresolved(text: str, *, temporary: bool, what: str = ADDRESS) -> ClientName:
    return ClientName(None, temporary, f"{what} could not be resolved ({text})")


def invalid(name: str) -> ClientName:
    return ClientName(None, True, f'{ADDRESS} resolved to invalid host name "{name}"')


NO_USABLE_NAME = ClientName(None, True, f"{ADDRESS} resolved to no usable name")
TIMED_OUT = unresolved("110: Operation timed out", temporary=True)
NOT_FOUND = unresolved("3: Host not found", temporary=False)
FORWARD_NOT_FOUND = unresolved("3: Host not found", temporary=False, what='"client.test"')
FORWARD_FAILED = unresolved("2: Server failure", temporary=True, what='"client.test"')
FORWARD_TIMED_OUT = unresolved("110: Operation timed out", temporary=True, what='"client.test"')


def pointing(*records: str) -> dict[str, Reply]:
    return {POINTER: tuple(f"7.2.0.192.in-addr.arpa. 60 IN {record}" for record in records)}


def another_id(query: Message) -> list[bytes]:
    query.id ^= 1
    return [answer_to(query, (PTR,)).to_wire()]


def another_question(query: Message) -> list[bytes]:
    other = dns.message.make_query("8.2.0.192.in-addr.arpa.", "PTR", id=query.id)
    return [answer_to(other, (PTR,)).to_wire()]


def no_response(query: Message) -> list[bytes]:
    return [query.to_wire()]


#: The table of client names: the DNS records, and the name.
ROWS: dict[str, tuple[Zone, ClientName]] = {
    "PTR: NXDOMAIN": ({}, NOT_FOUND),
    "PTR: no answers": ({POINTER: NOTHING}, NOT_FOUND),
    "PTR: SERVFAIL": ({POINTER: dns.rcode.SERVFAIL}, unresolved("2: Server failure", temporary=True)),
    "PTR: REFUSED": ({POINTER: dns.rcode.REFUSED}, unresolved("5: Operation refused", temporary=True)),
    "PTR: FORMERR": ({POINTER: dns.rcode.FORMERR}, unresolved("1: Format error", temporary=True)),
    "PTR: NOTIMP": ({POINTER: dns.rcode.NOTIMP}, unresolved("4: Unimplemented", temporary=True)),
    "PTR: other code": ({POINTER: dns.rcode.YXDOMAIN}, unresolved("6: Unknown error", temporary=True)),
    "PTR: silence": ({POINTER: None}, TIMED_OUT),
    "PTR: only CNAME": (pointing("CNAME x.test."), NO_USABLE_NAME),
    "PTR: only DNAME": (pointing("DNAME x.test."), NO_USABLE_NAME),
    "PTR: empty name": (pointing("PTR ."), NO_USABLE_NAME),
    "PTR: of another class": ({POINTER: ("7.2.0.192.in-addr.arpa. 60 CH PTR client.test.",)}, NO_USABLE_NAME),
    "PTR: malformed": (
        {POINTER: b"\x81\x80\0\1\0\1\0\0\0\0garbage"},
        unresolved("malformed answer", temporary=True),
    ),
    "PTR: shorter than a header": ({POINTER: b"\x81"}, TIMED_OUT),
    "PTR: another id": ({POINTER: another_id}, TIMED_OUT),
    "PTR: another question": ({POINTER: another_question}, TIMED_OUT),
    "PTR: a question comes back": ({POINTER: no_response}, TIMED_OUT),
    "PTR: underscore": (pointing("PTR a_b.test."), invalid("a_b.test")),
    "PTR: line break": (pointing("PTR a\\013\\010b.test."), invalid("a\\013\\010b.test")),
    "PTR: NUL": (pointing("PTR a\\000.test."), invalid("a\\000.test")),
    "PTR: space": (pointing("PTR a\\032b.test."), invalid("a\\032b.test")),
    "PTR: dot in a label": (pointing("PTR a\\.b.test."), invalid("a\\.b.test")),
    "PTR: not ASCII": (pointing("PTR \\233.test."), invalid("\\233.test")),
    "forward: NXDOMAIN": ({POINTER: (PTR,)}, FORWARD_NOT_FOUND),
    "forward: no addresses": ({POINTER: (PTR,), A: NOTHING, AAAA: NOTHING}, FORWARD_NOT_FOUND),
    "forward: only CNAME": (
        {POINTER: (PTR,), A: ("client.test. 60 IN CNAME x.test.",), AAAA: NOTHING},
        FORWARD_NOT_FOUND,
    ),
    "forward: A fails": ({**FOUND, A: dns.rcode.SERVFAIL}, FORWARD_FAILED),
    "forward: AAAA fails": ({**FOUND, AAAA: dns.rcode.SERVFAIL}, FORWARD_FAILED),
    "forward: A silent": ({**FOUND, A: None}, FORWARD_TIMED_OUT),
    "forward: AAAA silent": ({**FOUND, AAAA: None}, FORWARD_TIMED_OUT),
    "forward: malformed": (
        {**FOUND, AAAA: b"\x81\x80\0\1\0\1\0\0\0\0garbage"},
        unresolved("malformed answer", temporary=True, what='"client.test"'),
    ),
    "forward: another address": ({**FOUND, A: ("client.test. 60 IN A 192.0.2.8",)}, UNAVAILABLE),
    "forward: the address": (FOUND, ClientName(b"client.test")),
    "forward: one of several": (
        {**FOUND, A: ("client.test. 60 IN A 192.0.2.8", "client.test. 60 IN A 192.0.2.7")},
        ClientName(b"client.test"),
    ),
    "forward: behind a CNAME": (
        {**FOUND, A: ("client.test. 60 IN CNAME x.test.", "x.test. 60 IN A 192.0.2.7")},
        ClientName(b"client.test"),
    ),
    "the first of several PTR": (
        {**FOUND, **pointing("PTR client.test.", "PTR other.test.")},
        ClientName(b"client.test"),
    ),
    "PTR behind a CNAME": (
        {
            **FOUND,
            POINTER: ("7.2.0.192.in-addr.arpa. 60 IN CNAME 7.x.test.", "7.x.test. 60 IN PTR client.test."),
        },
        ClientName(b"client.test"),
    ),
    "in lower case": (
        {**pointing("PTR CLIENT-1.Test."), "client-1.test. A": ("client-1.test. 60 IN A 192.0.2.7",)},
        ClientName(b"client-1.test"),
    ),
}


def patience(expected: ClientName) -> float:
    """Return the seconds for the lookup: few if it is expected to time out."""
    return 0.15 if "timed out" in (expected.problem or "") else PATIENCE


@pytest.mark.parametrize(("zone", "expected"), ROWS.values(), ids=ROWS.keys())
def test_the_name_of_a_client(zone: Zone, expected: ClientName) -> None:
    with NameServer(zone) as server:
        assert Resolver([server.address], patience(expected)).find_client_name(ADDRESS, 20) == expected


def test_without_a_resolver_no_client_has_a_name() -> None:
    assert Resolver([], PATIENCE).find_client_name(ADDRESS, 20) == UNAVAILABLE


def test_a_client_on_a_unix_socket_has_none_for_now() -> None:
    with NameServer(FOUND) as server:
        assert Resolver([server.address], PATIENCE).find_client_name("unix:", 20) == TEMPUNAVAIL

    assert server.asked == []


def test_an_invalid_name_is_not_looked_up() -> None:
    with NameServer(pointing("PTR a_b.test.")) as server:
        Resolver([server.address], PATIENCE).find_client_name(ADDRESS, 20)

    assert server.asked == [POINTER]


@pytest.mark.parametrize("answered", [("2001:db8::7",), ("2001:DB8:0:0::7",), ("2001:db8::8", "2001:db8::7")])
def test_an_ipv6_client(answered: tuple[str, ...]) -> None:
    pointer = "7." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa."
    zone = {
        f"{pointer} PTR": (f"{pointer} 60 IN PTR client.test.",),
        A: NOTHING,
        AAAA: tuple(f"client.test. 60 IN AAAA {address}" for address in answered),
    }
    with NameServer(zone) as server:
        found = Resolver([server.address], PATIENCE).find_client_name("2001:db8::7", 20)
        assert found == ClientName(b"client.test")


def test_a_mapped_client_is_an_ipv4_client() -> None:
    with NameServer(FOUND) as server:
        found = Resolver([server.address], PATIENCE).find_client_name("::ffff:192.0.2.7", 20)
        assert found == ClientName(b"client.test")


# -- how it is asked ------------------------------------------------------------------------------


def test_both_families_are_asked_at_once() -> None:
    with NameServer(FOUND) as server:
        Resolver([server.address], PATIENCE).find_client_name(ADDRESS, 20)

    assert sorted(server.asked) == sorted([POINTER, A, AAAA])


def test_the_servers_take_turns() -> None:
    zone: Zone = {POINTER: NOTHING}
    with NameServer(zone) as one, NameServer(zone) as two:
        found = Resolver([one.address, two.address], PATIENCE)
        for last in range(4):
            found.find_client_name(f"192.0.2.{last}", 20)

    assert (len(one.asked), len(two.asked)) == (2, 2)


def test_a_silent_server_s_question_goes_to_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nameservers, "RESEND", 0.05)
    with NameServer({POINTER: None, A: None, AAAA: None}) as one, NameServer(FOUND) as two:
        found = Resolver([one.address, two.address], PATIENCE).find_client_name(ADDRESS, 20)
        assert found == ClientName(b"client.test")

    assert one.asked[0] == POINTER


def test_only_what_is_unanswered_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nameservers, "RESEND", 0.05)
    with NameServer({**FOUND, AAAA: [None, NOTHING]}) as server:
        assert Resolver([server.address], PATIENCE).find_client_name(ADDRESS, 20).name == b"client.test"

    assert sorted(server.asked) == sorted([POINTER, A, AAAA, AAAA])


def test_a_late_answer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first server answers only after the question went to the second one."""
    monkeypatch.setattr(nameservers, "RESEND", 0.05)

    def late(query: Message) -> list[bytes]:
        time.sleep(0.1)
        return [answer_to(query, NOTHING).to_wire()]

    with NameServer({POINTER: late}) as one, NameServer({POINTER: None}) as two:
        assert Resolver([one.address, two.address], PATIENCE).find_client_name(ADDRESS, 20) == NOT_FOUND


def test_a_server_that_is_not_there_costs_no_time() -> None:
    with NameServer(FOUND) as server:
        found = Resolver([("127.0.0.1", free_port()), server.address], PATIENCE)
        began = time.monotonic()

        assert found.find_client_name(ADDRESS, 20) == ClientName(b"client.test")

    assert time.monotonic() - began < nameservers.RESEND


def test_no_server_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[RawSocket] = []

    def counted(family: int, kind: int) -> RawSocket:
        made.append(RawSocket(family, kind))
        return made[-1]

    monkeypatch.setattr(nameservers, "RawSocket", counted)
    servers = [("127.0.0.1", free_port()), ("127.0.0.1", free_port())]

    assert Resolver(servers, 0.2).find_client_name(ADDRESS, 20) == TIMED_OUT
    assert 2 <= len(made) <= 4, "each is tried at each of its turns, and not in a busy loop"


def test_an_unreachable_server_counts_as_silent() -> None:
    broadcast = ("255.255.255.255", 53)

    assert Resolver([broadcast], 0.1).find_client_name(ADDRESS, 20) == TIMED_OUT


def test_the_right_answer_among_wrong_ones() -> None:
    def answers(query: Message) -> list[bytes]:
        return [b"", b"x", *another_id(query), *another_id(query), answer_to(query, (PTR,)).to_wire()]

    with NameServer({**FOUND, POINTER: answers}) as server:
        assert Resolver([server.address], PATIENCE).find_client_name(ADDRESS, 20) == ClientName(
            b"client.test"
        )


def test_an_answer_from_elsewhere_is_ignored() -> None:
    def from_another_port(query: Message) -> list[bytes]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
            elsewhere.sendto(answer_to(query, (PTR,)).to_wire(), server.client)
        return []

    with NameServer({**FOUND, POINTER: from_another_port}) as server:
        assert Resolver([server.address], 0.1).find_client_name(ADDRESS, 20) == TIMED_OUT


def test_a_flood_of_wrong_answers_ends_the_lookup() -> None:
    with NameServer({POINTER: lambda query: another_id(query) * 80}) as server:
        began = time.monotonic()

        assert Resolver([server.address], PATIENCE).find_client_name(ADDRESS, 20) == TIMED_OUT

    assert time.monotonic() - began < PATIENCE / 2


TCP_ROWS: dict[str, tuple[Zone, ClientName]] = {
    "answered": (FOUND, ClientName(b"client.test")),
    "refused": ({**FOUND, A: dns.rcode.SERVFAIL}, FORWARD_FAILED),
    "silent": ({**FOUND, A: None}, FORWARD_TIMED_OUT),
    "another id": ({**FOUND, A: another_id}, FORWARD_TIMED_OUT),
    "malformed": (
        {**FOUND, A: b"\x81\x80\0\1\0\1\0\0\0\0garbage"},
        unresolved("malformed answer", temporary=True, what='"client.test"'),
    ),
    "too large": ({**FOUND, A: b"x" * 20_000}, FORWARD_TIMED_OUT),
}


@pytest.mark.parametrize(("tcp_zone", "expected"), TCP_ROWS.values(), ids=TCP_ROWS.keys())
def test_a_truncated_answer_is_asked_for_over_tcp(tcp_zone: Zone, expected: ClientName) -> None:
    with NameServer({**FOUND, A: truncated}, tcp_zone) as server:
        assert Resolver([server.address], patience(expected)).find_client_name(ADDRESS, 20) == expected

    assert f"{A} tcp" in server.asked


def test_a_truncated_pointer_is_asked_for_over_tcp() -> None:
    with NameServer({**FOUND, POINTER: truncated}, FOUND) as server:
        assert Resolver([server.address], PATIENCE).find_client_name(ADDRESS, 20) == ClientName(
            b"client.test"
        )


QUERY = dns.message.make_query("7.2.0.192.in-addr.arpa.", "PTR")
GOOD = answer_to(QUERY, (PTR,)).to_wire()[2:]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=600),
        st.binary(max_size=80).map(lambda tail: GOOD[:10] + tail),
        st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)).map(
            lambda edit: GOOD[: edit[0]] + bytes((edit[1],)) + GOOD[edit[0] + 1 :]
        ),
        st.integers(0, len(GOOD)).map(lambda size: GOOD[:size]),
    )
)
def test_no_answer_makes_the_lookup_raise(answer: bytes) -> None:
    with NameServer({POINTER: answer}) as server:
        found = Resolver([server.address], 0.02).find_client_name(ADDRESS, 20)

    assert isinstance(found, ClientName)


# -- what is kept ---------------------------------------------------------------------------------


def test_answers_are_kept() -> None:
    with NameServer(FOUND) as server:
        found = Resolver([server.address], PATIENCE)
        names = {found.find_client_name(ADDRESS, 20) for _ in range(5)}

    assert names == {ClientName(b"client.test")}
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "zone",
    [
        {POINTER: (PTR.replace(" 60 ", " 0 "),), A: (HERE,), AAAA: NOTHING},
        {POINTER: (PTR,), A: (HERE.replace(" 60 ", " 0 "),), AAAA: NOTHING},
    ],
)
def test_a_stale_answer_is_asked_for_again(zone: Zone) -> None:
    with NameServer(zone) as server:
        found = Resolver([server.address], PATIENCE)
        assert found.find_client_name(ADDRESS, 20) == found.find_client_name(ADDRESS, 20)

    assert len(server.asked) == 6


def no_such_name(ttl: int, minimum: int) -> Callable[[Message], list[bytes]]:
    """Return NXDOMAIN, with the SOA of a zone."""

    def answers(query: Message) -> list[bytes]:
        answer = answer_to(query, dns.rcode.NXDOMAIN)
        soa = f"ns.test. root.test. 1 2 3 4 {minimum}"
        answer.authority.append(dns.rrset.from_text("arpa.", ttl, "IN", "SOA", soa))
        return [answer.to_wire()]

    return answers


def holds_for(
    found: Callable[[], object], server: NameServer, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> bool:
    """Tell whether an answer is kept for so long, and at most one second longer."""
    found()
    asked, now = len(server.asked), time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + seconds)
    found()
    kept = len(server.asked) == asked
    monkeypatch.setattr(time, "monotonic", lambda: now() + seconds + 1)
    found()
    monkeypatch.setattr(time, "monotonic", now)
    return kept and len(server.asked) > asked


@pytest.mark.parametrize(
    ("zone", "valid", "seconds"),
    [
        pytest.param({}, None, 29, id="NXDOMAIN without a SOA"),
        pytest.param({POINTER: no_such_name(100, 40)}, None, 39, id="the SOA's minimum"),
        pytest.param({POINTER: no_such_name(50, 4000)}, None, 49, id="the SOA's own time"),
        pytest.param({POINTER: no_such_name(10**6, 10**6)}, None, 10799, id="three hours at most"),
        pytest.param({POINTER: no_such_name(100, 40)}, 10, 9, id="valid shortens it"),
        pytest.param({POINTER: no_such_name(100, 40)}, 600, 39, id="valid makes it no longer"),
        pytest.param({POINTER: NOTHING}, None, 29, id="no PTR"),
        pytest.param({POINTER: dns.rcode.SERVFAIL}, None, 29, id="SERVFAIL"),
        pytest.param({POINTER: dns.rcode.SERVFAIL}, 10, 9, id="SERVFAIL, valid"),
        pytest.param({POINTER: None}, None, 29, id="silence"),
        pytest.param(pointing("CNAME x.test."), None, 29, id="no usable name"),
        pytest.param(pointing("PTR a_b.test."), None, 59, id="an invalid name"),
        pytest.param({**FOUND, AAAA: dns.rcode.SERVFAIL}, None, 29, id="forward, one of two fails"),
        pytest.param({POINTER: (PTR,)}, None, 29, id="forward, NXDOMAIN"),
        pytest.param({POINTER: (PTR,), A: no_such_name(9, 9), AAAA: None}, None, 29, id="forward, silence"),
        pytest.param({POINTER: (PTR,), A: no_such_name(9, 9)}, None, 8, id="forward, the SOA's"),
        pytest.param({**FOUND, A: ("client.test. 20 IN A 192.0.2.8",)}, None, 19, id="another address"),
        pytest.param({**FOUND, A: ("client.test. 20 CH A a.test. 1",), AAAA: NOTHING}, None, 29, id="class"),
    ],
)
def test_a_missing_name_is_kept(
    zone: Zone, valid: float | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    with NameServer(zone) as server:
        found = Resolver([server.address], 0.1, valid=valid)

        assert holds_for(lambda: found.find_client_name(ADDRESS, 20), server, monkeypatch, seconds)


@pytest.mark.parametrize("zone", [FOUND, {}, {POINTER: dns.rcode.SERVFAIL}, {POINTER: None}])
def test_a_hundred_clients_of_one_address_ask_once(zone: Zone) -> None:
    with NameServer(zone) as server:
        found = Resolver([server.address], 0.2)
        clients = [gevent.spawn(found.find_client_name, ADDRESS, 20) for _ in range(100)]
        gevent.joinall(clients, raise_error=True)

    assert len({client.value for client in clients}) == 1
    assert len(server.asked) == len(set(server.asked))


def test_a_client_that_leaves_does_not_stop_the_lookup() -> None:
    def late(query: Message) -> list[bytes]:
        time.sleep(0.1)
        return [answer_to(query, (PTR,)).to_wire()]

    with NameServer({**FOUND, POINTER: late}) as server:
        found = Resolver([server.address], PATIENCE)
        first, second = (gevent.spawn(found.find_client_name, ADDRESS, 20) for _ in range(2))
        gevent.sleep(0.02)
        first.kill()
        assert second.get(timeout=5) == ClientName(b"client.test")

    assert server.asked.count(POINTER) == 1


def test_a_clients_wait_for_a_silent_server_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    with NameServer({POINTER: None}) as server:
        found = Resolver([server.address], 1.5)
        began = time.monotonic()
        late = found.find_client_name(ADDRESS, 0.1)
        assert time.monotonic() - began < 0.35
        assert late == ClientName(None, True, f"{ADDRESS} could not be resolved in time")
        assert found.find_client_name(ADDRESS, 20) == TIMED_OUT
        began = time.monotonic()
        assert found.find_client_name(ADDRESS, 20) == TIMED_OUT
        assert time.monotonic() - began < 0.05

    assert server.asked == [POINTER]


def test_the_number_of_questions_at_a_time_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MOST_LOOKUPS", 3)
    with NameServer({}) as server:
        server.zone = {f"{last}.2.0.192.in-addr.arpa. PTR": None for last in range(1, 9)}
        found = Resolver([server.address], 0.2)
        names = [gevent.spawn(found.find_client_name, f"192.0.2.{last}", 20) for last in range(1, 9)]
        hosts = [gevent.spawn(found.find_addresses, f"host{number}.test", 1) for number in range(8)]
        gevent.joinall(names, raise_error=True)
        gevent.joinall(hosts)

    assert sum("in time" in str(name.value) for name in names) == 5
    assert sum("PTR" in asked for asked in server.asked) == 3
    assert len({asked.partition(".")[0] for asked in server.asked if asked.startswith("host")}) == 8


def test_a_kept_answer_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic
    with NameServer(FOUND) as server:
        found = Resolver([server.address], PATIENCE)
        found.find_client_name(ADDRESS, 20)
        monkeypatch.setattr(time, "monotonic", lambda: now() + 61)
        found.find_client_name(ADDRESS, 20)

    assert len(server.asked) == 6


def test_valid_sets_how_long_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic
    with NameServer(FOUND) as server:
        names = Resolver([server.address], PATIENCE, valid=600)
        names.find_client_name(ADDRESS, 20)
        monkeypatch.setattr(time, "monotonic", lambda: now() + 590)
        assert names.find_client_name(ADDRESS, 20).name == b"client.test"
        assert len(server.asked) == 3
        monkeypatch.setattr(time, "monotonic", lambda: now() + 610)
        names.find_client_name(ADDRESS, 20)
        assert len(server.asked) == 6


@pytest.mark.parametrize(("families", "asked"), [({"ipv6": False}, [A]), ({"ipv4": False}, [AAAA])])
def test_only_one_family_is_asked_for(families: dict[str, bool], asked: list[str]) -> None:
    with NameServer(FOUND) as server:
        Resolver([server.address], PATIENCE, **families).find_client_name(ADDRESS, 20)
        assert server.asked == [POINTER, *asked]


def test_while_the_servers_fail_the_last_addresses_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic
    here = ("mail.test. 60 IN A 192.0.2.1",)
    zone: dict[str, Reply | list[Reply]] = {"mail.test. A": [here, dns.rcode.SERVFAIL]}
    with NameServer(zone) as server:
        found = Resolver([server.address], PATIENCE, ipv6=False)
        first = found.find_addresses("mail.test", 143)
        monkeypatch.setattr(time, "monotonic", lambda: now() + 61)
        assert found.find_addresses("mail.test", 143) == first
        assert found.find_addresses("mail.test", 143) == first
        assert len(server.asked) == 2, "the failure is kept, too"
        monkeypatch.setattr(time, "monotonic", lambda: now() + 61 + 31)
        server.zone = {"mail.test. A": ("mail.test. 60 IN A 192.0.2.2",)}
        assert found.find_addresses("mail.test", 143)[0][1][0] == "192.0.2.2"
        server.zone = {"mail.test. A": dns.rcode.SERVFAIL}
        for later in range(100, 86400, 10_000):  # however often it fails
            monkeypatch.setattr(time, "monotonic", lambda later=later: now() + later)
            assert found.find_addresses("mail.test", 143)[0][1][0] == "192.0.2.2"
        monkeypatch.setattr(time, "monotonic", lambda: now() + 61 + 31 + 60 + 86400)
        with pytest.raises(OSError, match="Server failure"):
            found.find_addresses("mail.test", 143)


def test_the_number_of_kept_answers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "CACHE_SIZE", 2)
    zone = {f"{name}.test. A": (f"{name}.test. 60 IN A 192.0.2.1",) for name in "abc"}
    with NameServer(zone) as server:
        found = Resolver([server.address], PATIENCE)
        for name in "abcbca":
            found.find_addresses(f"{name}.test", 1)

    assert [asked[0] for asked in server.asked if asked.endswith(" A")] == ["a", "b", "c", "a"]


# -- hosts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("192.0.2.1", (socket.AF_INET, ("192.0.2.1", 143))),
        ("2001:db8::1", (socket.AF_INET6, ("2001:db8::1", 143, 0, 0))),
    ],
)
def test_an_ip_address_needs_no_lookup(host: str, expected: tuple[int, object]) -> None:
    with NameServer({}) as server:
        assert Resolver([server.address], PATIENCE).find_addresses(host, 143) == [expected]

    assert server.asked == []


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (
            {
                "mail.test. A": ("mail.test. 60 IN A 192.0.2.1", "mail.test. 60 IN A 192.0.2.2"),
                "mail.test. AAAA": ("mail.test. 60 IN AAAA 2001:db8::1",),
            },
            ["192.0.2.1", "192.0.2.2", "2001:db8::1"],
        ),
        ({"mail.test. AAAA": ("mail.test. 60 IN AAAA 2001:db8::1",)}, ["2001:db8::1"]),
        (
            {"mail.test. A": ("mail.test. 60 IN A 192.0.2.1",), "mail.test. AAAA": dns.rcode.SERVFAIL},
            ["192.0.2.1"],
        ),
        ({"mail.test. A": ("mail.test. 60 IN A 192.0.2.1",), "mail.test. AAAA": None}, ["192.0.2.1"]),
    ],
)
def test_the_addresses_of_a_host(zone: Zone, expected: list[str]) -> None:
    with NameServer(zone) as server:
        found = Resolver([server.address], 0.1).find_addresses("mail.test", 143)

    assert [address[0] for _, address in found] == expected
    assert {address[1] for _, address in found} == {143}


@pytest.mark.parametrize(
    ("zone", "problem"),
    [
        ({"mail.test. A": dns.rcode.SERVFAIL}, "mail.test could not be resolved (2: Server failure)"),
        ({"mail.test. A": None}, "mail.test could not be resolved (110: Operation timed out)"),
        ({}, "mail.test could not be resolved ("),
    ],
)
def test_a_host_that_is_not_found(zone: Zone, problem: str) -> None:
    with NameServer(zone) as server, pytest.raises(OSError) as caught:  # noqa: PT011 - its text is tested
        Resolver([server.address], 0.1).find_addresses("mail.test", 143)

    assert str(caught.value).startswith(problem)


@pytest.mark.parametrize("host", ["a" * 64, "a..b", "a." * 130 + "b"])
@pytest.mark.parametrize("with_servers", [True, False])
def test_a_text_that_is_not_a_host_name(host: str, with_servers: bool) -> None:
    with NameServer({}) as server, pytest.raises(OSError):  # noqa: PT011
        Resolver([server.address] if with_servers else [], 0.1).find_addresses(host, 143)


def test_the_system_resolves_localhost() -> None:
    with NameServer({"localhost. A": ("localhost. 60 IN A 192.0.2.1",)}) as server:
        found = Resolver([server.address], PATIENCE).find_addresses("localhost", 143)

    assert server.asked == []
    assert {address[0] for _, address in found} <= {"127.0.0.1", "::1"}


def test_the_system_is_asked_about_names_that_the_servers_do_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def getaddrinfo(host: str, port: None, type: int) -> list[tuple[object, ...]]:  # noqa: A002
        asked.append(host)
        return [
            (socket.AF_INET, type, 6, "", ("192.0.2.1", 0)),
            (socket.AF_INET6, type, 6, "", ("::1", 0, 0, 0)),
        ]

    monkeypatch.setattr(resolver, "getaddrinfo", getaddrinfo)
    with NameServer({}) as server:
        found = Resolver([server.address], PATIENCE)
        answers = [found.find_addresses("in-etc-hosts", 143) for _ in range(3)]

    assert answers == [[(socket.AF_INET, ("192.0.2.1", 143)), (socket.AF_INET6, ("::1", 143, 0, 0))]] * 3
    assert asked == ["in-etc-hosts"]


def test_a_failure_of_the_system_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getaddrinfo(host: str, port: None, type: int) -> list[tuple[object, ...]]:  # noqa: A002
        asked.append(host)
        gevent.sleep(0.05)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(resolver, "getaddrinfo", getaddrinfo)
    found = Resolver([], PATIENCE)
    logins = [gevent.spawn(found.find_addresses, "nowhere.test", 143) for _ in range(20)]
    gevent.joinall(logins)

    assert {str(login.exception) for login in logins} == {
        "nowhere.test could not be resolved (Name or service not known)"
    }
    assert asked == ["nowhere.test"]
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + resolver.SYSTEM_LIFE)
    with pytest.raises(OSError, match="nowhere"):
        found.find_addresses("nowhere.test", 143)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("host", "family"),
    [
        ("192.0.2.1", socket.AF_INET),
        ("2001:db8::1", socket.AF_INET6),
        ("::ffff:192.0.2.1", socket.AF_INET6),
        ("192.0.2", None),
        ("192.0.2.1\0", None),
        ("[::1]", None),
        ("fe80::1%lo", None),
        ("\xb2.0.0.1", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_ip_families(host: str, family: int | None) -> None:
    assert get_ip_family(host) == family


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        ("IMAP.Example.org.", "imap.example.org"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("[x", "[x"),
        ("", ""),
    ],
)
def test_the_form_in_which_hosts_are_compared(host: str, canonical: str) -> None:
    assert normalise_host(host) == canonical
