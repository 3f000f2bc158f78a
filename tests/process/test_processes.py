"""The master's children: deaths, signals, and the user and limits of a process."""

import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import datetime

import gevent
import pytest

from tests.e2e.clients import Client
from tests.process.support import SOON, Running, blocks_signals, children, knocking, listens, soon, status_of
from tests.servers.geomail import COMMAND
from tests.servers.support import LOOPBACK, open_files, unavailable


def test_a_worker_that_dies_has_a_successor(running: Running) -> None:
    before = running.start().two_workers()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    after = soon(
        lambda: running.workers() if len(running.workers()) == 2 and victim not in running.workers() else 0
    )

    assert after & before == before - {victim}
    assert running.geomail is not None
    running.geomail.log.wait_for(rf"error worker {victim} died \(killed by SIGKILL\); its sessions are lost")
    with running.logged_in() as client:
        client.quit()


def gone(client: Client) -> bool:
    try:
        return client.read_line() == b""
    except ConnectionError:
        return True


def test_a_worker_that_is_killed_takes_only_its_own_clients_with_it(running: Running) -> None:
    running.start()
    with running.one_client_each() as clients, knocking(running.port) as refused:
        victim, survivor = clients
        os.kill(victim, signal.SIGKILL)
        soon(lambda: len(running.workers() - {victim}) == 2)
        assert survivor in running.workers()
        clients[survivor].say("x CHECK")
        assert clients[survivor].read_line() == b"x OK done\r\n"
        assert gone(clients[victim])
    assert (
        len(refused) <= 3
    )  # clients of the victim at that moment: each of the three is cut off at most once


def test_workers_that_die_at_once_are_not_started_at_once(running: Running) -> None:
    running.start(workers=1)
    assert running.geomail is not None
    kills = []
    for _ in range(3):
        (worker,) = soon(running.workers)
        kills.append(time.monotonic())
        os.kill(worker, signal.SIGKILL)
        soon(lambda: not running.workers())

    assert kills[-1] - kills[0] > 0.5 + 1
    for delay in ("0.5", "1", "2"):
        running.geomail.log.wait_for(f"next start in {delay} s")


def test_workers_that_die_together_delay_the_next_ones_once(running: Running) -> None:
    running.start(workers=5)
    before = soon(lambda: found if len(found := running.workers()) == 5 else None)
    began = time.monotonic()
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    soon(lambda: len(running.workers() - before) == 5)

    assert time.monotonic() - began > 0.4
    assert running.geomail is not None
    assert re.findall(r"next start in (\S+) s", running.geomail.log.text) == 5 * ["0.5"]


EARLY = """
from geomail_cli.main import app  # must be the first import: it patches
import os, signal
from geomail.console.process import Console
from geomail.process.worker import Worker

def hurried(made):
    def early(self, *arguments):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
            os.kill(os.getpid(), number)
        made(self, *arguments)
    return early

{kind}.__init__ = hurried({kind}.__init__)
app(["serve", "-c", "{file}"])
"""


def test_the_signal_for_another_binary_ends_nothing(running: Running) -> None:
    workers = running.start().two_workers()
    assert running.geomail is not None
    os.kill(running.pid, signal.SIGUSR2)
    running.geomail.log.wait_for("warning USR2 is ignored")
    assert running.workers() == workers


FULL = """
from geomail_cli.main import app
from geomail.process import forks

fork, refusals = forks._fork, {refusals}

def refused():
    if refusals:
        refusals.pop()
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()

forks._fork = refused
app(["serve", "-c", "{file}"])
"""


@pytest.mark.parametrize("refusals", [1, 3])
def test_no_room_for_another_process_is_not_the_end(running: Running, refusals: int) -> None:
    """The first fork is for a worker, the next one for the console, or for a worker again."""
    file = running.folder / "geomail.toml"
    file.write_text(running.configuration(workers=1, control={"socket": str(running.folder / "control")}))
    script = FULL.format(refusals=list(range(refusals)), file=file)
    log = running.folder / "full.log"
    with log.open("w") as errors, subprocess.Popen([sys.executable, "-c", script], stderr=errors) as process:
        soon(lambda: len(children(process.pid)) == 2)
        with running.logged_in() as client:
            client.quit()
        process.terminate()
    assert process.returncode == 0
    said = log.read_text()
    refused = re.findall(
        r"^(\S+)Z error cannot start a process: Resource temporarily unavailable$", said, re.MULTILINE
    )
    assert len(refused) == refusals
    first, last = (datetime.fromisoformat(refused[place]) for place in (0, -1))
    assert refusals < 3 or (last - first).total_seconds() > 0.4, "a worker is tried again later"
    assert "Traceback" not in said


def test_how_a_worker_died(running: Running) -> None:
    workers = running.start().two_workers()
    assert running.geomail is not None
    log = running.geomail.log
    for victim, (number, name) in zip(workers, ((signal.SIGSEGV, "SIGSEGV"), (40, "signal 40")), strict=True):
        soon(lambda: not blocks_signals(victim))  # noqa: B023
        os.kill(victim, number)
        log.wait_for(rf"error worker {victim} died \(killed by {name}\)")


def test_an_old_worker_that_dies_is_missed_and_not_replaced(running: Running) -> None:
    running.start()
    assert running.geomail is not None
    log = running.geomail.log
    with running.one_client_each() as clients:
        first, second = clients
        running.reload(worker_connections=1000)
        assert len(running.workers()) == 4
        os.kill(first, signal.SIGKILL)
        log.wait_for(rf"error worker {first} died \(killed by SIGKILL\); its sessions are lost\n")
        assert len(running.workers()) == 3
        os.kill(running.pid, signal.SIGQUIT)
        log.wait_for("stopping when")
        os.kill(second, signal.SIGKILL)
        log.wait_for(rf"error worker {second} died \(killed by SIGKILL\); its sessions are lost\n")
    assert running.geomail.process.wait(SOON) == 0


@pytest.mark.parametrize("kind", ["Worker", "Console"])
def test_signals_that_come_early_are_not_the_end(running: Running, kind: str) -> None:
    """A process gets them once it can say goodbye."""
    file = running.folder / "geomail.toml"
    control = {"socket": str(running.folder / "control")}
    file.write_text(running.configuration(workers=1, control=control))
    script = EARLY.format(kind=kind, file=file)
    log = running.folder / "early.log"
    with log.open("w") as errors, subprocess.Popen([sys.executable, "-c", script], stderr=errors) as process:
        soon(lambda: listens(running.port))
        gevent.sleep(0.5)
        soon(lambda: not any(map(blocks_signals, children(process.pid))))
        process.terminate()
    assert process.returncode == 0
    assert re.search("killed by|exit status 1|Traceback", log.read_text()) is None


def test_the_master_has_no_hub(running: Running) -> None:
    workers = running.start().two_workers()

    def polls(pid: int) -> bool:
        return any("eventpoll" in name for name in open_files(pid))

    soon(lambda: all(map(polls, workers)))
    assert not polls(running.pid)


def test_every_process_may_open_as_many_files_as_the_system_lets_it(running: Running) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most // 2, most))
    try:
        workers = running.start().two_workers()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    for pid in (running.pid, *workers):
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (most, most)


def test_more_sessions_than_open_files(running: Running) -> None:
    """The default causes no warning: clients beyond the limit wait."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    running.start()
    running.reload(worker_connections=most // 2)
    assert running.geomail is not None
    assert "warning worker_connections" not in running.geomail.log.text
    running.reload(worker_connections=most // 2 + 1)

    said = f"takes twice as many open files, but the system allows {most} "
    running.geomail.log.wait_for(f"warning worker_connections = {most // 2 + 1} {said}")


def test_clients_that_connect_together_are_served_together_up_to_worker_connections(running: Running) -> None:
    """The other clients wait until one leaves."""
    running.start(workers=1, worker_connections=3)
    [worker] = soon(running.workers)
    with ExitStack() as opened:
        os.kill(worker, signal.SIGSTOP)
        waiting = [
            opened.enter_context(socket.create_connection((LOOPBACK, running.port), SOON)) for _ in range(7)
        ]
        os.kill(worker, signal.SIGCONT)
        for served in (3, 3, 1):
            soon(lambda: answering(waiting))
            gevent.sleep(0.3)
            greeted = answering(waiting)
            assert len(greeted) == served
            for client in greeted:
                assert client.recv(100).startswith(b"* OK ")
                client.close()
                waiting.remove(client)


def answering(clients: list[socket.socket]) -> list[socket.socket]:
    """Return the clients that have something to read."""
    return select.select(clients, [], [], 0)[0]


@pytest.mark.parametrize(("user", "group"), [("nobody", 65534), ("nobody:daemon", 1)])
def test_workers_run_as_another_user(running: Running, user: str, group: int) -> None:
    if os.geteuid() != 0:
        unavailable("only root can become another user")
    workers = running.start(user=user).two_workers()

    def ids(pid: int, kind: str) -> set[int]:
        return {
            int(number)
            for line in status_of(pid)
            if line.startswith(f"{kind}:")
            for number in line.split()[1:]
        }

    soon(lambda: all(ids(worker, "Uid") == {65534} for worker in workers))
    assert ids(running.pid, "Uid") == {0}
    for worker in workers:
        assert ids(worker, "Gid") == {group}
        assert 0 not in ids(worker, "Groups")
    with running.logged_in() as client:
        client.quit()


OTHER = """
from geomail_cli.main import app
import os

os.geteuid = lambda: 1000
app(["serve", "-c", "{file}"])
"""


@pytest.mark.parametrize("user", ["nobody", "nobody-knows"])
def test_only_root_can_become_another_user(running: Running, user: str) -> None:
    file = running.folder / "geomail.toml"
    file.write_text(running.configuration(user=user))
    program = OTHER.format(file=file)
    log = running.folder / "other.log"
    with log.open("w") as errors, subprocess.Popen([sys.executable, "-c", program], stderr=errors) as process:
        soon(lambda: listens(running.port))
        process.terminate()
    assert f"warning user = '{user}' is ignored: only root can become another user" in log.read_text()


def test_nobody_knows_the_user(running: Running) -> None:
    (running.folder / "geomail.toml").write_text(running.configuration(user="nobody-knows"))
    command = [str(COMMAND), "serve", "-c", str(running.folder / "geomail.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=SOON, check=False)

    assert ended.returncode == 1
    assert "nobody-knows" in ended.stderr
