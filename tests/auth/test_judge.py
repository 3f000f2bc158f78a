"""The findings about an auth service's answers, line by line and as a whole."""

from typing import Literal

import pytest

from geomail.auth.http import HttpSource
from geomail.auth.trial import Trial, run_trial
from geomail.backends import Backends
from geomail.parties import Digest, Login, Password
from tests.auth.support import BACKENDS, RESOLVER, source
from tests.net.raw_service import CLOSE, Action, RawService, closed_port
from tests.protocols.support import client_at

PLAIN = Login(Password(b"u", b"p"))
DIGEST = Login(Digest(b"u", b"d" * 32, b"<s>", "cram-md5"))
OK = ("Auth-Status: OK", "Auth-Server: 192.0.2.11", "Auth-Port: 143")
NO = ("Auth-Status: no", "Auth-Wait: 1")
END = "Content-Length: 0"
UNKNOWN = "warning: geomail and nginx do not know this header"
Protocol = Literal["smtp", "imap", "pop3"]


def tried(*answer: Action, protocol: Protocol = "imap", login: Login = PLAIN, needs: bool = True) -> Trial:
    """Run a trial with an auth service that gives this answer."""
    with RawService(answer) as service:
        asking = source(protocol, auth_http=f"http://127.0.0.1:{service.port}/", auth_http_timeout=1)
        assert isinstance(asking, HttpSource)
        try:
            return run_trial(
                asking, login, client_at(), protocol, Backends(BACKENDS), RESOLVER, needs_password=needs
            )
        finally:
            asking.close()


def answer(*headers: str, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join((status, *headers, END, "", "")).encode("latin-1")


def said(trial: Trial) -> dict[str, list[str]]:
    """Return the findings by header ("" for the whole answer): severity, and text unless it is minor."""
    found: dict[str, list[str]] = {}
    for finding in trial.findings:
        header = "" if finding.line is None else trial.head[finding.line].decode("latin-1").partition(":")[0]
        if finding.severity != "ok":
            found.setdefault(header, []).append(f"{finding.severity}: {finding.text}")
    return found


@pytest.mark.parametrize(
    "headers",
    [
        OK,
        ("auth-status: OK", "AUTH-SERVER: 2001:db8::1", "Auth-Port: 993"),
        (*OK, "Auth-User: other", "Auth-Pass: other"),
        NO,
        ("Auth-Status: WAIT", "Auth-Wait: 5"),
    ],
)
def test_an_answer_that_works_everywhere_gives_no_finding(headers: tuple[str, ...]) -> None:
    trial = tried(answer(*headers))

    assert said(trial) == {}
    assert trial.problem == ""


@pytest.mark.parametrize(
    ("headers", "header", "start"),
    [
        # what lets a login fail that was to succeed
        (("Auth-Status: OK", "Auth-Server: 192.0.2.1"), "", "error: Auth-Port is missing"),
        (("Auth-Status: OK", "Auth-Port: 1"), "", "error: Auth-Server is missing"),
        (("Auth-Status: ok", *OK[1:]), "Auth-Status", "error: not exactly OK or WAIT"),
        (("Auth-Status:\tOK", *OK[1:]), "Auth-Status", "warning: nginx takes the tab as part"),
        ((*OK[:2], "Auth-Port: 0"), "Auth-Port", "error: not a port"),
        ((*OK[:2], "Auth-Port: 70000"), "Auth-Port", "error: not a port"),
        ((*OK[:2], "Auth-Port: 25 "), "", ""),
        (("Auth-Status: OK", "Auth-Server: unix:/x", "Auth-Port: 1"), "Auth-Server", "error: not an IP"),
        ((*OK, "Auth-Backend: nothing"), "Auth-Backend", "error: [backends] has no table"),
        ((*OK, "Auth_User: u"), "Auth_User", "warning: nginx refuses the whole answer"),
        ((*OK, "Auth_Status: no"), "Auth_Status", "error: an underscore: geomail refuses"),
        ((*OK, "X\xe9: u"), "X\xe9", "warning: not a valid header name: geomail skips"),
        ((*OK, "X : u"), "X ", "error: not a valid header name: geomail refuses"),
        ((*OK, "two words"), "two words", "error: not a valid header name, and no colon"),
        ((*OK, " folded"), " folded", "error: a header must be on one line"),
        # what nginx takes differently
        (("Auth-Status: OK", "Auth-Server: mx.test", "Auth-Port: 1"), "Auth-Server", "warning: a host name"),
        (
            ("Auth-Status: OK", "Auth-Server: [::1]", "Auth-Port: 1"),
            "Auth-Server",
            "warning: nginx accepts an",
        ),
        (("Auth-Status: OK", "Auth-Backend: one"), "Auth-Backend", "note: replaces Auth-Server"),
        ((*OK, f"X-Long: {'x' * 1000}"), "", "warning: 1106 bytes of headers: nginx accepts 1024"),
        (("Auth-Status: WAIT",), "", "warning: WAIT without Auth-Wait"),
        (("Auth-Status: ", "Auth-Wait: 1"), "Auth-Status", "warning: a refusal without words"),
        # what has no effect, or another one than meant
        (OK[1:], "", "warning: Auth-Status is missing"),
        ((*OK, "Auth-Wait: 3"), "Auth-Wait", "note: no effect"),
        ((*NO, "Auth-Server: 192.0.2.1"), "Auth-Server", "note: no effect"),
        ((*NO, "Auth-Port: 1"), "Auth-Port", "note: no effect"),
        ((*NO, "Auth-Backend: one"), "Auth-Backend", "note: no effect"),
        ((*NO, "Auth-Pass: x"), "Auth-Pass", "note: no effect"),
        (
            (*NO, "Auth-Error-Code: 535"),
            "Auth-Error-Code",
            "note: no effect: this protocol has no",
        ),
        (("Auth-Status: no", "Auth-Wait: soon"), "Auth-Wait", "warning: not a number of seconds"),
        (("Auth-Status: no", "Auth-Wait: 9999"), "Auth-Wait", "warning: geomail waits at most 3600"),
        (("Auth-Status: no",), "", "note: no Auth-Wait: geomail closes the session"),
        (("Auth-Status: no", "Auth-Wait: 0"), "", "note: no Auth-Wait: geomail closes the session"),
        (
            (f"Auth-Status: {'x' * 500}", "Auth-Wait: 1"),
            "Auth-Status",
            "warning: geomail cuts the words after 480",
        ),
        (("Auth-Status: n\xf6", "Auth-Wait: 1"), "Auth-Status", "note: not ASCII"),
        ((*OK, "Auth-User: a%40b"), "Auth-User", "note: used as it is"),
        ((*OK, "Auth-Pass: a%40b"), "Auth-Pass", "note: used as it is"),
        (
            (*OK, "Auth-Prot: 1"),
            "Auth-Prot",
            f"{UNKNOWN}; did you mean Auth-Port?",
        ),
        ((*OK, "Auth-Zzzzzzzz: 1"), "Auth-Zzzzzzzz", UNKNOWN),
        ((*OK, "X-Trace: 1"), "X-Trace", "note: geomail and nginx ignore this header"),
        ((*OK, "Auth-Port"), "Auth-Port", "note: repeated"),
        ((*OK, "X-Nothing"), "X-Nothing", "warning: no colon"),
    ],
)
def test_the_findings(headers: tuple[str, ...], header: str, start: str) -> None:
    found = said(tried(answer(*headers)))

    if not start:
        assert found == {}
    else:
        assert any(text.startswith(start) for text in found[header]), found


@pytest.mark.parametrize(
    ("headers", "start"),
    [
        (("Auth-Status: no", "Auth-Error-Code: 454 4.7.0"), None),
        (("Auth-Status: no", "Auth-Error-Code: soon"), "warning: not a code like"),
        ((*OK, "Auth-Error-Code: 535"), "note: no effect: it counts only when the login is refused"),
    ],
)
def test_error_codes_in_smtp(headers: tuple[str, ...], start: str | None) -> None:
    found = said(tried(answer(*headers), protocol="smtp")).get("Auth-Error-Code", [])

    assert found == [] if start is None else found[0].startswith(start)


def test_a_code_in_the_words_of_a_refusal_comes_twice() -> None:
    [text] = said(tried(answer("Auth-Status: 535 5.7.8 no", "Auth-Wait: 1"), protocol="smtp"))["Auth-Status"]

    assert text.startswith("warning: geomail puts another reply code before it")


@pytest.mark.parametrize(
    ("status", "start"),
    [
        ("HTTP/1.1 403 Forbidden", "warning: geomail and nginx ignore the status"),
        ("HTTP/1.0 200 OK", "note: geomail connects again"),
        ("Auth-User: u", "note: not a status line"),
    ],
)
def test_status_lines(status: str, start: str) -> None:
    trial = tried(answer(*OK, status=status))

    assert trial.verdict is not None
    assert any(text.startswith(start) for texts in said(trial).values() for text in texts)


@pytest.mark.parametrize(
    ("end", "start"),
    [
        (("Connection: close", "Content-Length: 0", "", ""), "note: Connection: close"),
        (("", "body"), "warning: the body has no length"),
        (("Content-Length: 9", "", "body"), "warning: the body is late"),
        (("Content-Length: 999999", "", "body"), "warning: the body is late"),
        (("Transfer-Encoding: chunked", "", "4", "body", "0", "", ""), None),
        (("Content-Length: 4", "", "body"), None),
    ],
)
def test_bodies(end: tuple[str, ...], start: str | None) -> None:
    text = "\r\n".join(("HTTP/1.1 200 OK", *OK, *end)).encode()
    found = said(tried(text, 1.2 if start else 0.0)).get("", [])

    assert found == [] if start is None else found[0].startswith(start)


@pytest.mark.parametrize(
    ("login", "protocol", "needs", "missing"),
    [(DIGEST, "imap", True, True), (DIGEST, "smtp", True, True), (DIGEST, "smtp", False, False)],
)
def test_a_digest_is_not_a_password(login: Login, protocol: Protocol, needs: bool, missing: bool) -> None:
    found = said(tried(answer(*OK), login=login, protocol=protocol, needs=needs))
    assert ("" in found) == missing

    with_password = tried(answer(*OK, "Auth-Pass: p"), login=login, protocol=protocol, needs=needs)
    assert said(with_password) == {}


@pytest.mark.parametrize(
    ("actions", "problem", "lines"),
    [
        ((b"HTTP/1.1 200 OK\r\nAuth-Status: O", CLOSE), "gave no complete answer", 2),
        ((CLOSE,), "gave no complete answer", 0),
        ((b"HTTP/1.1 200 OK\r\n", 3.0), "timed out", 1),
        ((b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20000,), "sent more than 16384 bytes", 2),
        ((b"\x16\x03\x01\x02\r\n\r\n",), "sent invalid header", 1),
    ],
)
def test_bytes_that_are_not_an_answer_are_kept(actions: tuple[Action, ...], problem: str, lines: int) -> None:
    trial = tried(*actions)

    assert problem in trial.problem
    assert trial.verdict is None
    assert len(trial.head) == lines


@pytest.mark.parametrize("more", [b"x", answer(*OK)])
def test_bytes_after_the_end_of_an_answer_are_an_error(more: bytes) -> None:
    trial = tried(answer(*OK) + more)

    assert said(trial)[""][0].startswith("error: bytes follow the end of the answer")


def test_interim_answers_are_skipped() -> None:
    trial = tried(b"HTTP/1.1 100 Continue\r\n\r\n" + answer(*OK))

    assert trial.head[0] == b"HTTP/1.1 200 OK"


def test_a_service_that_is_down() -> None:
    asking = source("imap", auth_http=f"http://127.0.0.1:{closed_port()}/")
    assert isinstance(asking, HttpSource)

    trial = run_trial(asking, PLAIN, client_at(), "imap", Backends(BACKENDS), RESOLVER, needs_password=True)

    assert "cannot be reached" in trial.problem
    assert (trial.head, trial.findings) == ((), ())


def test_an_accepted_login_without_a_usable_backend_has_no_verdict() -> None:
    accepted = answer("Auth-Status: OK", "Auth-Server: 192.0.2.99", "Auth-Port: 143")
    with RawService((accepted,)) as service:
        url = f"http://127.0.0.1:{service.port}/"
        asking = source("imap", auth_http=url, auth_http_backends="configured")
        assert isinstance(asking, HttpSource)
        one = Backends({"one": BACKENDS["one"]})
        trial = run_trial(asking, PLAIN, client_at(), "imap", one, RESOLVER, needs_password=True)
        asking.close()

    assert (trial.verdict, trial.backend) == (None, "")
    assert "sent 192.0.2.99:143, which is not the address of a configured backend" in trial.problem
