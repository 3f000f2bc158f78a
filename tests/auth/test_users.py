"""The users file: accepted and refused logins, the time of refusals, and changes of the file."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import gevent
import pytest
from argon2 import PasswordHasher
from gevent import monkey
from passlib.hash import sha512_crypt

from geomail import hashes
from geomail.auth import make_directory, make_source
from geomail.auth.base import Accepted, Refused, Source
from geomail.auth.users import Directory, UsersSource
from geomail.auth.verifier import Verifier
from geomail.backends import Backends
from geomail.backends.resolvers import make_resolver
from geomail.config.schema import Backend, Config, Users
from geomail.hashes import Hash
from geomail.parties import Asserted, Credentials, Digest, Login, NoLogin, Password, Refusal, Token
from tests.auth.support import BACKENDS, endpoint, wait_until
from tests.net.support import PATIENCE
from tests.protocols.support import client_at, server

#: Of "pass word"; cheap, all of one kind.
BCRYPT = "$2y$05$uZG.IlXfHUgW2xp5isOtr.40.2HsMNPQkMV9MUNwXOiADoIXkvp7K"
SSHA = "{SSHA}ye4E2MtP42QBr7OMwxPuEde3AKfa2N5f"
RIGHT = b"pass word"
USERS = f"""\
ann@example.org:{BCRYPT}
bob@example.org:{BCRYPT}:user=robert password=s3cret%20word
carl@example.net:{BCRYPT}:backend=six protocols=imap,pop3
dora@example.net:{BCRYPT}:disabled
eve@example.net:{BCRYPT}:backend=mailless
"""
WRONG = Refusal(neutral=True)
LATER = Refusal(neutral=True, temporary=True)

MAILLESS = Backend.model_validate({"name": "mailless", "imap": "192.0.2.20:143"})


class Setup:
    """A users file, the source that reads it, and its lines in the log."""

    def __init__(self, folder: Path, text: str) -> None:
        self.file = folder / "users"
        self.told: list[str] = []
        self.file.write_text(text)
        self.options = Users(file=str(self.file), default="one", domains={"example.org": "two"})
        backends = {**BACKENDS, "mailless": MAILLESS}
        self.directory = Directory(
            self.options, backends, lambda level, text: self.told.append(f"{level} {text}")
        )
        self.sources: dict[str, Source] = {
            protocol: UsersSource(self.directory, Backends(backends), timeout=20.0)
            for protocol in ("smtp", "imap", "pop3")
        }

    def check(
        self,
        user: bytes,
        password: bytes = RIGHT,
        protocol: str = "imap",
        address: str = "192.0.2.7",
    ) -> Accepted | Refused:
        return self.ask(Password(user, password), protocol, address)

    def ask(
        self, credentials: Credentials, protocol: str = "imap", address: str = "192.0.2.7"
    ) -> Accepted | Refused:
        return self.sources[protocol].check(Login(credentials), client_at(address), protocol, 1)

    def replace(self, text: str) -> None:
        """Put another file in its place, as editors do, and let the next login look at it."""
        fresh = self.file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.file)
        self.look()

    def look(self) -> None:
        self.directory._next_look = 0.0


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path, USERS)


@pytest.mark.parametrize("protocol", ["smtp", "imap", "pop3"])
@pytest.mark.parametrize(
    ("user", "backend", "name", "password"),
    [
        (b"ann@example.org", "two", b"ann@example.org", RIGHT),
        (b"Ann@EXAMPLE.org", "two", b"Ann@EXAMPLE.org", RIGHT),
        (b"bob@example.org", "two", b"robert", b"s3cret word"),
    ],
)
def test_accepted_logins(
    setup: Setup, protocol: str, user: bytes, backend: str, name: bytes, password: bytes
) -> None:
    verdict = setup.check(user, protocol=protocol)

    assert isinstance(verdict, Accepted)
    assert (endpoint(verdict, protocol).name, verdict.user, verdict.password) == (backend, name, password)


@pytest.mark.parametrize(
    ("user", "password", "protocol", "reason"),
    [
        (b"ann@example.org", b"Pass word", "imap", "wrong password"),
        (b"ann@example.org", b"", "imap", "wrong password"),
        (b"ann@example.org", b"x" * 5000, "smtp", "wrong password"),
        (b"ann", RIGHT, "imap", "unknown user"),
        (b"", RIGHT, "imap", "unknown user"),
        (b"\xff", RIGHT, "imap", "unknown user"),
        (b"carl@example.net", RIGHT, "smtp", "the user is not allowed to use smtp"),
        (b"carl@example.net", b"x", "smtp", "wrong password"),
        (b"dora@example.net", RIGHT, "imap", "the user is disabled"),
        (b"dora@example.net", b"x", "imap", "wrong password"),
        (b"eve@example.net", RIGHT, "pop3", "the user's backend mailless has no address for pop3"),
    ],
)
def test_refused_logins(setup: Setup, user: bytes, password: bytes, protocol: str, reason: str) -> None:
    assert setup.check(user, password, protocol) == Refused(WRONG, wait=0.0, close=False, reason=reason)


def test_the_protocols_that_are_allowed(setup: Setup) -> None:
    assert isinstance(setup.check(b"carl@example.net", protocol="imap"), Accepted)
    assert isinstance(setup.check(b"carl@example.net", protocol="pop3"), Accepted)
    assert isinstance(setup.check(b"eve@example.net", protocol="imap"), Accepted)


@pytest.mark.parametrize("user", [b"ann@example.org", b""])
@pytest.mark.parametrize("secret", [RIGHT, b""])
def test_only_a_password_lets_a_user_in(setup: Setup, user: bytes, secret: bytes) -> None:
    for credentials in (
        Digest(user, secret, b"<1@x>", "cram-md5"),
        Digest(user, secret, b"<1@x>", "apop"),
        Token(user, secret, "xoauth2"),
        Asserted(user),
        NoLogin(b"MAIL FROM:<>", b"RCPT TO:<ann@example.org>", user),
    ):
        assert isinstance(setup.ask(credentials), Refused)


def test_geomail_judges_the_client_and_not_the_backend(setup: Setup) -> None:
    assert not setup.sources["smtp"].passthrough


# -- what a refusal costs -------------------------------------------------------------------------


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch, setup: Setup) -> list[tuple[str, bool]]:
    """Record the hashes that are verified, and whether the hub's own thread verified them."""
    setup.directory.get_users()
    seen = []
    thread: Callable[[], int] = monkey.get_original("threading", "get_ident")
    verify, main = hashes.verify, thread()

    def watched(known: Hash, password: bytes) -> bool:
        seen.append((f"{known.scheme} {known.cost}", thread() == main))
        return verify(known, password)

    monkeypatch.setattr(hashes, "verify", watched)
    return seen


@pytest.mark.parametrize(
    ("user", "password", "protocol"),
    [
        (b"ann@example.org", RIGHT, "imap"),
        (b"ann@example.org", b"x", "imap"),
        (b"ann@example.org", b"x" * 512, "imap"),
        (b"carl@example.net", RIGHT, "smtp"),
        (b"dora@example.net", RIGHT, "imap"),
        (b"dora@example.net", b"x", "imap"),
        (b"eve@example.net", RIGHT, "smtp"),
    ],
)
def test_every_login_of_a_user_costs_one_verification(
    setup: Setup, verified: list[tuple[str, bool]], user: bytes, password: bytes, protocol: str
) -> None:
    setup.check(user, password, protocol)

    assert verified == [("BLF-CRYPT 05", False)]


@pytest.mark.parametrize(
    ("user", "password"),
    [
        (b"nobody@example.org", RIGHT),
        (b"", b""),
        (b"ann@example.org", b"x" * 513),
        (b"ann@example.org", RIGHT + b"\0" * 600),
    ],
)
def test_a_login_that_cannot_be_right_is_refused_without_hashing(
    setup: Setup, verified: list[tuple[str, bool]], user: bytes, password: bytes
) -> None:
    assert isinstance(setup.check(user, password), Refused)
    assert verified == []


MIXED = f"""\
bcrypt:$2b$08$C6UzMDM.H6dfI/f/IKcEe.4pVTqDCcIQsfFAZ2zaXUtEHqfIKMgYW
argon:{PasswordHasher(time_cost=1, memory_cost=4096, parallelism=1).hash(RIGHT)}
sha512:{sha512_crypt.using(rounds=2000).hash(RIGHT)}
salted:{SSHA}
off:{SSHA}:disabled
"""
WRONG_LOGINS = {
    "unknown": (b"nobody", RIGHT),
    "bcrypt": (b"bcrypt", b"wrong"),
    "argon2id": (b"argon", b"wrong"),
    "SHA-512": (b"sha512", b"wrong"),
    "SSHA": (b"salted", b"wrong"),
    "disabled": (b"off", RIGHT),
}


def medians_of_times(setup: Setup, logins: dict[str, tuple[bytes, bytes]], rounds: int) -> list[float]:
    times: dict[str, list[float]] = {name: [] for name in logins}
    for _ in range(rounds):
        for name, (user, password) in logins.items():
            began = time.monotonic()
            assert isinstance(setup.check(user, password), Refused)
            times[name].append(time.monotonic() - began)
    return [sorted(of_one)[rounds // 2] for of_one in times.values()]


def one_time(measure: Callable[[], list[float]]) -> bool:
    """Tell whether these times are equal in at least one of several attempts.

    What tells users apart does so each time; but a machine becomes busier now and then.
    """
    attempts = (sorted(measure()) for _ in range(5))
    return any(times[-1] - times[0] < 0.25 * times[0] for times in attempts)


@pytest.mark.parametrize("length", [5, 500, 900])
def test_time_does_not_tell_which_users_are_in_the_file(tmp_path: Path, length: int) -> None:
    setup = Setup(tmp_path, MIXED)
    logins = {name: (user, password.ljust(length, b"x")) for name, (user, password) in WRONG_LOGINS.items()}
    if length == 5:
        logins["disabled"] = WRONG_LOGINS["disabled"]
    setup.directory.get_users()

    assert one_time(lambda: medians_of_times(setup, logins, rounds=9))
    assert min(medians_of_times(setup, logins, rounds=1)) >= setup.directory.costs._estimate(length) * 0.99


def test_a_turn_tells_nothing_to_the_logins_behind_it(tmp_path: Path) -> None:
    setup = Setup(tmp_path, MIXED)
    setup.directory.get_users()

    def times() -> list[float]:
        taken = []
        for user in (b"nobody", b"bcrypt", b"salted") * 3:
            began = time.monotonic()
            gevent.joinall([gevent.spawn(setup.check, user, b"wrong") for _ in range(6)], raise_error=True)
            taken.append(time.monotonic() - began)
        return [sorted(taken[first::3])[1] for first in range(3)]

    assert one_time(times)


def test_an_accepted_login_does_not_wait(tmp_path: Path) -> None:
    setup = Setup(tmp_path, MIXED)
    setup.directory.get_users()
    refusal = setup.directory.costs.get_refusal_seconds(len(RIGHT))
    began = time.monotonic()

    assert isinstance(setup.check(b"salted"), Accepted)
    assert time.monotonic() - began < refusal / 2


def test_a_file_without_users(tmp_path: Path) -> None:
    setup = Setup(tmp_path, "# nobody yet\n")

    assert setup.check(b"ann") == Refused(WRONG, wait=0.0, close=False, reason="unknown user")


def test_other_greenlets_run_while_hashes_are_verified(tmp_path: Path) -> None:
    setup = Setup(tmp_path, f"ann:{hashes.make_argon2id(RIGHT)}\n")
    setup.directory.get_users()
    logins = [gevent.spawn(setup.check, b"ann") for _ in range(8)]
    turns = 0
    while not all(login.ready() for login in logins):
        gevent.sleep(0)
        turns += 1

    assert all(isinstance(login.value, Accepted) for login in logins)
    assert turns > 100


# -- too many, too expensive ----------------------------------------------------------------------


def test_one_login_too_many_may_try_later(setup: Setup, held: Callable[[], int]) -> None:
    setup.directory.verifier = Verifier(threads=1, most_waiting=1)
    setup.directory.get_users()
    waiting = [gevent.spawn(setup.check, b"ann@example.org") for _ in range(2)]
    wait_until(lambda: bool(setup.directory.verifier._waiting))

    verdicts = [setup.check(user) for user in (b"ann@example.org", b"nobody")]
    held()
    gevent.joinall(waiting, timeout=PATIENCE)

    reason = "too many logins wait for their passwords to be verified"
    assert verdicts == [Refused(LATER, wait=0.0, close=False, reason=reason)] * 2
    assert all(isinstance(login.value, Accepted) for login in waiting)


def test_a_login_waits_no_longer_than_its_server_allows(setup: Setup, held: Callable[[], int]) -> None:
    setup.directory.verifier = Verifier(threads=1)
    setup.directory.get_users()
    first = gevent.spawn(setup.check, b"ann@example.org")
    impatient = UsersSource(setup.directory, Backends(BACKENDS), timeout=0.05)
    gevent.sleep(0)

    verdict = impatient.check(Login(Password(b"ann@example.org", RIGHT)), client_at(), "imap", 1)
    reason = "the password could not be verified within 0.05 s"
    assert verdict == Refused(LATER, wait=0.0, close=False, reason=reason)
    assert not setup.directory.verifier._waiting
    held()
    assert isinstance(first.get(timeout=5), Accepted)


def test_a_hash_that_needs_more_memory_than_there_is(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    expensive = hashes.make_argon2id(RIGHT).replace("m=19456", "m=4294967295")
    verdict = Setup(tmp_path, f"ann:{expensive}\n").check(b"ann")

    assert verdict == Refused(LATER, wait=0.0, close=False, reason="argon2id: Memory allocation error")
    assert capfd.readouterr().err == ""


# -- the file changes -----------------------------------------------------------------------------


def test_a_new_file_is_read(setup: Setup) -> None:
    assert isinstance(setup.check(b"ann@example.org"), Accepted)
    assert setup.told == []
    setup.replace(f"newcomer:{SSHA}\n")

    assert isinstance(setup.check(b"newcomer"), Accepted)
    assert isinstance(setup.check(b"ann@example.org"), Refused)
    assert setup.told == [f"notice users file {setup.file} was read again: 1 users"]


def test_a_file_that_has_not_changed_is_not_read_again(setup: Setup) -> None:
    setup.check(b"ann@example.org")
    setup.look()
    setup.check(b"ann@example.org")

    assert setup.told == []


def test_a_change_in_place_is_read(setup: Setup) -> None:
    setup.check(b"ann@example.org")
    with setup.file.open("a") as file:
        file.write(f"newcomer:{SSHA}\n")
    setup.look()

    assert isinstance(setup.check(b"newcomer"), Accepted)


def test_a_file_of_the_same_size_and_time_is_read(setup: Setup) -> None:
    setup.check(b"ann@example.org")
    status = setup.file.stat()
    fresh = setup.file.with_suffix(".new")
    fresh.write_text(USERS.replace("ann@", "amy@"))
    os.utime(fresh, ns=(status.st_atime_ns, status.st_mtime_ns))
    fresh.replace(setup.file)
    setup.look()

    assert isinstance(setup.check(b"amy@example.org"), Accepted)


def test_a_broken_file_leaves_the_users_in_force_and_is_logged_once(setup: Setup) -> None:
    setup.check(b"ann@example.org")
    setup.replace(f"{USERS}frank:s3cret\nann@example.org:{SSHA}\n")
    for _ in range(3):
        assert isinstance(setup.check(b"ann@example.org"), Accepted)
        setup.look()

    assert setup.told == [
        f"error users file {setup.file}:6: error: frank: this is not a password hash that geomail can "
        "verify, or not a complete one; make one with geomail hash-password (and 1 more); "
        "the users read before stay in force"
    ]
    setup.replace(USERS)
    assert isinstance(setup.check(b"ann@example.org"), Accepted)
    assert setup.told[1:] == [f"notice users file {setup.file} was read again: 5 users"]


def test_a_missing_file_leaves_the_users_in_force_and_is_logged_once(setup: Setup) -> None:
    setup.check(b"ann@example.org")
    setup.file.rename(setup.file.with_suffix(".old"))
    for _ in range(3):
        setup.look()
        assert isinstance(setup.check(b"ann@example.org"), Accepted)

    assert setup.told == [
        f"error users file {setup.file} cannot be read: No such file or directory; "
        "the users read before stay in force"
    ]


def test_a_file_that_was_never_good(tmp_path: Path) -> None:
    setup = Setup(tmp_path, "ann\n")
    reason = f"users file {setup.file}:1: error: must be name:hash, but there is no colon"

    assert setup.check(b"ann") == Refused(LATER, wait=0.0, close=False, reason=reason)
    assert setup.told == [f"error {reason}; no user can log in"]
    setup.replace(f"ann:{SSHA}\n")
    assert isinstance(setup.check(b"ann"), Accepted)
    assert setup.told[1:] == [f"notice users file {setup.file} was read again: 1 users"]


def test_the_file_is_checked_once_per_interval(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    stat = Path.stat

    def watched(path: Path) -> os.stat_result:
        looks.append(path)
        return stat(path)

    monkeypatch.setattr(Path, "stat", watched)
    for _ in range(5):
        setup.check(b"ann@example.org")

    assert looks == [setup.file]


def test_while_one_login_reads_the_file_the_other_logins_go_on(tmp_path: Path) -> None:
    setup = Setup(tmp_path, f"ann:{SSHA}\n")
    setup.check(b"ann")
    setup.replace("".join(f"user{number}:{SSHA}\n" for number in range(20_000)) + f"ann:{SSHA}\n")
    reader = gevent.spawn(setup.check, b"user1")
    gevent.sleep(0.001)

    assert isinstance(setup.check(b"ann"), Accepted)
    assert not reader.ready()
    assert isinstance(reader.get(timeout=20), Accepted)


def test_a_login_waits_while_the_file_is_first_read(tmp_path: Path) -> None:
    setup = Setup(tmp_path, "".join(f"user{number}:{SSHA}\n" for number in range(5_000)))
    logins = [gevent.spawn(setup.check, f"user{number}".encode()) for number in range(10)]
    gevent.joinall(logins, timeout=20)

    assert all(isinstance(login.value, Accepted) for login in logins)


# -- as serve makes it ----------------------------------------------------------------------------


def test_servers_share_one_directory(setup: Setup) -> None:
    servers = tuple(server(protocol, auth="users") for protocol in ("imap", "pop3"))
    config = Config(servers=servers, backends=BACKENDS, users=setup.options)
    directory = make_directory(config, lambda *_: None)

    for configured in servers:
        backends = Backends(BACKENDS)
        source = make_source(configured, config, backends, make_resolver(configured), directory)
        assert isinstance(source, UsersSource)
        assert source._directory is directory


def test_without_a_server_with_users_there_is_no_directory(setup: Setup) -> None:
    config = Config(servers=(server("imap", auth_http="127.0.0.1:9000"),), users=setup.options)

    assert make_directory(config, lambda *_: None) is None


def test_a_single_source_has_its_own_directory(setup: Setup) -> None:
    configured = server("imap", auth="users")
    config = Config(
        servers=(configured,), backends=BACKENDS, users=Users(file=str(setup.file), default="one")
    )
    setup.file.write_text(f"ann:{SSHA}\n")
    source = make_source(configured, config, Backends(BACKENDS), make_resolver(configured))

    assert isinstance(source.check(Login(Password(b"ann", RIGHT)), client_at(), "imap", 1), Accepted)
