"""Metrics: they agree with what clients did, and do not fall when a worker dies."""

import http.client
import imaplib
import os
import re
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from geomail.console.metrics import BackendHealth
from tests.console.support import PROTOCOLS, Running, eventually, running
from tests.servers.support import LOOPBACK, free_port

Samples = dict[str, float]


class Measured:
    """A running geomail, and its pages."""

    def __init__(self, server: Running, port: int) -> None:
        self.server = server
        self.port = port

    def get(self, path: str, method: str = "GET", accept: str = "*/*") -> tuple[int, str, str]:
        """Return status, content type and content of a page."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request(method, path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, str(answer.getheader("Content-Type")), answer.read().decode()
        finally:
            connection.close()

    def samples(self) -> Samples:
        """Return all samples, by their name and the values of their labels in order."""
        return {
            " ".join([sample.name, *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(self.get("/metrics")[2])
            for sample in family.samples
        }


@contextmanager
def measuring(folder: Path) -> Iterator[Measured]:
    port = free_port()
    with running(folder, **{"metrics.listen": f"{LOOPBACK}:{port}"}) as server:
        yield Measured(server, port)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    """Run a geomail that has only IMAP clients, and that no test harms."""
    with measuring(tmp_path_factory.mktemp("measured")) as measured:
        yield measured


@pytest.fixture
def quiet(lasting: Measured) -> Iterator[Measured]:
    """Return that geomail once it has no clients."""
    eventually(lambda: sum_of(lasting.samples(), "geomail_sessions_active ") == 0)
    yield lasting
    lasting.server.leave()


@pytest.fixture
def measured(tmp_path: Path) -> Iterator[Measured]:
    """Run a geomail for one test."""
    with measuring(tmp_path) as measured:
        yield measured


def sum_of(samples: Samples, start: str) -> float:
    return sum(value for name, value in samples.items() if name.startswith(start))


def use(measured: Measured, times: int) -> None:
    """Make some logins that succeed in each protocol, and some that are refused in IMAP."""
    for number in range(times):
        for protocol in PROTOCOLS:
            measured.server.client(protocol, f"user{number}@example.test")
        with pytest.raises(imaplib.IMAP4.error):
            measured.server.imap(f"bad{number}@example.test")
    measured.server.leave()


def has_counted(measured: Measured, times: int) -> bool:
    """Tell whether all logins are counted, and their sessions have ended."""
    samples = measured.samples()
    logins = {f"geomail_logins_total {protocol}  accepted": times for protocol in PROTOCOLS}
    active = {f"geomail_sessions_active {protocol} {protocol}-in": 0 for protocol in PROTOCOLS}
    refused = {"geomail_logins_total imap backend refused": times}
    return {**logins, **active, **refused}.items() <= samples.items()


def test_it_adds_up_over_two_workers_one_of_which_was_killed(measured: Measured) -> None:
    use(measured, 6)
    eventually(lambda: has_counted(measured, 6))
    before = measured.samples()
    histograms_count_every_login_and_session(before, 6)
    page = measured.get("/metrics")[2]
    no_label_is_a_user_or_a_client(page)
    the_manual_names_every_metric_and_no_other(page)
    victim = measured.server.workers[0]
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: measured.samples()["geomail_worker_deaths_total"] == 1)
    eventually(lambda: measured.samples()["geomail_workers serving"] == 2)
    after = measured.samples()
    fallen = {
        name: (value, after.get(name))
        for name, value in before.items()
        if name.partition(" ")[0].endswith(("_total", "_count", "_sum", "_bucket"))
        and after.get(name, -1) < value
    }
    assert fallen == {}
    use(measured, 4)
    eventually(lambda: has_counted(measured, 10))


def histograms_count_every_login_and_session(samples: Samples, times: int) -> None:
    for protocol in PROTOCOLS:
        ended = sum(
            value
            for name, value in samples.items()
            if re.match(rf"geomail_sessions_ended_total \w+ {protocol} ", name)
        )
        assert samples[f"geomail_session_duration_seconds_count {protocol}"] == ended
        assert samples[f"geomail_session_duration_seconds_bucket +Inf {protocol}"] == ended
        assert samples[f"geomail_sessions_total {protocol} {protocol}-in"] == ended
    assert samples["geomail_auth_duration_seconds_count pop3"] == times
    assert sum_of(samples, "geomail_backend_connect_duration_seconds_count ") == times * 4
    assert sum_of(samples, "geomail_backend_login_duration_seconds_count ") >= times * 3
    assert sum_of(samples, "geomail_backend_login_duration_seconds_sum ") > 0


def test_bytes_are_those_of_the_relayed_clients(quiet: Measured) -> None:
    measured = quiet
    client = measured.server.imap("user@example.test")
    for _ in range(10):
        client.noop()
    client.logout()
    eventually(lambda: sum_of(measured.samples(), "geomail_relay_bytes_total ") > 0)
    samples = measured.samples()
    [(name, received)] = [
        (name, value)
        for name, value in samples.items()
        if re.match(r"geomail_relay_bytes_total .* in imap$", name)
    ]
    assert "(small)" in name
    assert 10 * len("ABCD1 NOOP\r\n") < received < 1000


def test_a_live_session_is_active_and_its_backend_up(quiet: Measured) -> None:
    measured = quiet
    measured.server.imap("user@example.test")
    eventually(lambda: measured.samples()["geomail_sessions_active imap imap-in"] == 1)
    samples = measured.samples()
    [active] = [
        value
        for name, value in samples.items()
        if name.startswith("geomail_backend_sessions_active") and value
    ]
    assert active == 1
    assert sum_of(samples, "geomail_backend_up ") == 1


def test_a_backend_is_down_while_all_who_try_it_fail() -> None:
    health = BackendHealth()

    def observed(**counted: int) -> bool | None:
        row = {"logins": 0, "refused": 0, "failed": 0, **counted}
        return health.update({"b": row} if counted else {}).get("b")

    assert observed() is None, "no session has tried"
    assert observed(failed=1) is False
    assert observed(failed=1) is False, "no session has tried since"
    assert observed(failed=1, refused=1) is True, "it answered, if it did say no"
    assert observed(failed=1, refused=1) is True
    assert observed(failed=2, refused=1) is False
    assert observed(failed=3, refused=1, logins=1) is True, "some reach it"


def test_a_backend_that_is_gone_is_down(measured: Measured) -> None:
    file = measured.server.file
    file.write_text(re.sub(r"^imap = .*", f'imap = "{LOOPBACK}:1"', file.read_text(), flags=re.MULTILINE))
    with measured.server.asker() as asker:
        asker.done("reload")
    eventually(lambda: is_refused(measured.server))  # an old worker may still accept a client
    name = f"geomail_backend_up {LOOPBACK}:1 (small)"
    eventually(lambda: name in measured.samples())
    assert measured.samples()[name] == 0
    assert measured.samples()[f"geomail_backend_logins_total {LOOPBACK}:1 (small) failed"] == 1


def is_refused(server: Running) -> bool:
    """Log in, and tell whether the login fails."""
    try:
        server.imap("user@example.test").shutdown()
    except imaplib.IMAP4.error:
        return True
    return False


def no_label_is_a_user_or_a_client(page: str) -> None:
    assert "example.test" not in page
    assert re.findall(r'client="|user="', page) == []


def the_manual_names_every_metric_and_no_other(page: str) -> None:
    served = re.findall(r"^# TYPE (\w+) ", page, re.MULTILINE)
    manual = (Path(__file__).parents[2] / "man" / "man1" / "geomail-serve.1").read_text()
    items = " ".join(re.findall(r"^\.It Cm (geomail_.*)", manual, re.MULTILINE))
    assert sorted(items.replace(" ,", "").split()) == sorted(served)


def test_pages(quiet: Measured) -> None:
    measured = quiet
    assert measured.get("/livez") == (200, "text/plain; charset=utf-8", "alive\n")
    eventually(lambda: measured.get("/readyz")[0] == 200)
    assert measured.get("/readyz")[2] == "ready\n"
    status, kind, page = measured.get("/metrics?x=y")
    assert (status, kind.partition(";")[0]) == (200, "text/plain")
    assert "geomail_build_info{" in page
    kind = measured.get("/metrics", accept="application/openmetrics-text; version=1.0.0")[1]
    assert kind.startswith("application/openmetrics-text")
    assert measured.get("/metrics", "HEAD") == (200, measured.get("/metrics")[1], "")
    assert measured.get("/other")[0] == 404
    assert measured.get("/metrics", "POST")[0] == 405


def test_it_is_not_ready_while_it_ends(measured: Measured) -> None:
    measured.server.imap("user@example.test")
    os.kill(measured.server.master, signal.SIGQUIT)
    eventually(lambda: measured.get("/readyz")[0] == 503)
    assert measured.get("/readyz")[2] == "ending\n"
    assert measured.get("/livez")[0] == 200
    measured.server.leave()


@pytest.mark.parametrize(
    "said", [b"", b"GET /metrics HTTP/1.1\r\n", b"x" * 20_000, b"\xff\n\n", b"\n\n", b"\r\n\r\n"]
)
def test_hostile_requests_hurt_nobody(quiet: Measured, said: bytes) -> None:
    measured = quiet
    with socket.create_connection((LOOPBACK, measured.port), 10) as hostile:
        hostile.sendall(said)
        assert measured.get("/livez")[0] == 200


def test_connections_beyond_the_bound_are_closed(quiet: Measured) -> None:
    silent = [socket.create_connection((LOOPBACK, quiet.port), 10) for _ in range(40)]
    eventually(lambda: len(select.select(silent, [], [], 0)[0]) >= 8, 8)  # sooner than the limit for silence
    for sock in silent:
        sock.setblocking(False)
        try:
            assert sock.recv(1) == b""
        except (BlockingIOError, ConnectionResetError):
            pass
        sock.close()
    eventually(lambda: _answers(quiet))


@pytest.mark.parametrize("socket_setting", ["off", "on"])
def test_a_reload_moves_and_ends_it(tmp_path: Path, socket_setting: str) -> None:
    port, other = free_port(), free_port()
    with running(tmp_path, **{"metrics.listen": f"{LOOPBACK}:{port}"}) as server:
        measured = Measured(server, port)
        assert measured.get("/livez")[0] == 200
        text = server.file.read_text().replace(str(port), str(other))
        if socket_setting == "off":
            text = re.sub(r"^socket = .*", 'socket = "off"', text, flags=re.MULTILINE)
        server.file.write_text(text)
        os.kill(server.master, signal.SIGHUP)
        moved = Measured(server, other)
        eventually(lambda: _answers(moved))
        assert not _answers(measured)
        if socket_setting == "off":
            assert not server.path.exists()
        server.file.write_text(re.sub(r"^metrics.listen = .*", "", text, flags=re.MULTILINE))
        os.kill(server.master, signal.SIGHUP)
        eventually(lambda: not _answers(moved))


def _answers(measured: Measured) -> bool:
    try:
        return measured.get("/livez")[0] == 200
    except OSError:
        return False


def test_an_address_that_is_taken_is_told_and_mail_goes_on(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        with running(tmp_path, **{"metrics.listen": f"{LOOPBACK}:{taken.getsockname()[1]}"}) as server:
            server.server.log.wait_for(
                r"error cannot serve metrics at 127.0.0.1 port \d+: Address already in use"
            )
            server.imap("user@example.test")
