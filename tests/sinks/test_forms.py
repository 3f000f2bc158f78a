"""The log's three forms of every event, also with names that try to pass for other parts of a line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from geomail.events import FIELD_NAMES, Event, EventStream
from geomail.sinks.log import Log, choose_level
from tests.sinks.support import BACKEND, STAMP, closed, every_kind, opened, refused, remarked, started

FORMS = ("text", "json", "dovecot")
PIPE_BUF = 4096
ESCAPE = r"\\x[0-9a-f]{2}|\\u[0-9a-f]{4}|\\U[0-9a-f]{8}"
HOSTILE = {
    "line feed": "a\nb",
    "carriage return": "a\rb",
    "all of C0": "".join(map(chr, range(32))),
    "delete and C1": "".join(map(chr, range(0x7F, 0xA0))),
    "escape": "\x1b]0;title\x07\x1b[2J",
    "line separator": "a\u2028b\u2029c\x85d",
    "direction": "\u202eevil\u2066",
    "quote": 'a" user="root',
    "backslash": "\\",
    "backslash at the end": 'x\\" side=nobody',
    "equals": "x side=nobody session=forged",
    "bracket": "x>, method=PLAIN, rip=6.6.6.6, lip=1.1.1.1, session=<forged>",
    "parenthesis": "x,6.6.6.6): unknown user",
    "rip": "rip=6.6.6.6",
    "dovecot": "dovecot: imap-login: Disconnected (auth failed, 9 attempts in 1 secs): user=<x>, rip=6.6.6.6",
    "json": '","rip":"6.6.6.6","x":"',
    "space": "jane doe",
    "empty": "",
    "dash": "-",
    "no UTF-8": b"\xff\xfe".decode("utf-8", "backslashreplace"),
    "lone surrogate": "\ud800",
    "umlaut": "jürgen@müller.example",
    "emoji": "\U0001f600" * 50,
    "10 kB": "x" * 10_000,
    "10 kB of quotes": '"' * 10_000,
    "10 kB beyond U+FFFF": "\U000e0001" * 10_000,
}


def logged(folder: Path, form: Any, *events: Event) -> list[str]:
    """Return the lines of the log after these events."""
    log, stream = Log(), EventStream()
    log.use(target=str(folder / "log"), format=form, level="debug")
    log.subscribe(stream)
    for event in events:
        stream.emit(event)
    written = (folder / "log").read_bytes()
    assert written.endswith(b"\n")
    return written[:-1].decode().split("\n")


def shown(name: str) -> str:
    """Return the part of a name that its field holds at least: a long one is cut."""
    return name if len(name) < 100 else name[:20]


def fields(line: str) -> dict[str, str]:
    """Return the fields of a line in the text form; fail if there is anything between or after them."""
    begin = re.search(r"[a-z_]+=", line)
    assert begin
    rest, found = line[begin.start() :], {}
    while rest:
        match = re.match(rf'([a-z_]+)=("(?:[^"\\]|{ESCAPE})*"|[^" =]+)(?: |$)', rest)
        assert match, rest
        key, value = match.groups()
        assert key not in found
        if value.startswith('"'):
            value = re.sub(ESCAPE, lambda escape: chr(int(escape[0][2:], 16)), value[1:-1])
        found[key], rest = value, rest[match.end() :]
    return found


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("form", FORMS)
def test_an_event_is_one_line_that_prints_and_fits_a_pipe(tmp_path: Path, form: str, name: str) -> None:
    for number, (kind, event) in enumerate(every_kind(name, name).items(), 1):
        lines = logged(tmp_path, form, event)
        assert len(lines) == number, kind
        assert lines[-1].isprintable(), kind
        assert len(lines[-1].encode()) < PIPE_BUF, kind


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_text_line_gives_back_every_value(tmp_path: Path, name: str) -> None:
    events = every_kind(name, name)
    for line, event in zip(logged(tmp_path, "text", *events.values()), events.values(), strict=True):
        found = fields(line)
        assert (found["session"], found["client"]) == ("c0ffee-1", "192.0.2.7")
        if "user" in found or event.kind not in ("session.opened", "remark"):
            assert found["user"].startswith(shown(name))
        if "reason" in found:
            assert found["reason"].startswith(shown(name))
        assert set(found) <= set(FIELD_NAMES[event.kind])


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_json_line_gives_back_every_value(tmp_path: Path, name: str) -> None:
    events = every_kind(name, name)
    for line, event in zip(logged(tmp_path, "json", *events.values()), events.values(), strict=True):
        found = json.loads(line)
        assert line.isascii()
        assert (found["event"], found["client"], found["time"]) == (event.kind, "192.0.2.7", STAMP)
        if "user" in found:
            assert found["user"].startswith(shown(name))


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_every_text_of_a_json_record_is_whole(tmp_path: Path, name: str) -> None:
    fields = ("client", "local", "listener", "sni", "tls", "server", "user", "backend", "reason")
    event = closed(**dict.fromkeys(fields, name))

    [line] = logged(tmp_path, "json", event)

    found = json.loads(line)
    assert list(found) == list(json.loads(logged(tmp_path, "json", closed())[-1]))
    for field in fields:
        assert found[field].startswith(shown(name)), field


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_a_name_has_no_marks_of_dovecot_lines(tmp_path: Path, name: str) -> None:
    events = every_kind(name, name)
    for line, event in zip(logged(tmp_path, "dovecot", *events.values()), events.values(), strict=True):
        assert re.match(rf"{STAMP} dovecot: (imap-login|auth): ", line)
        named = re.findall(r"user=<([^>]*)>", line) + re.findall(
            r"(?:auth|backend|proxy)\(([^,)]*)[,)]", line
        )
        assert all(re.fullmatch(r"[^<>(),:;= ]*", user) for user in named)
        assert bool(named) == (event.kind not in ("session.opened", "remark"))
        assert line.count("session=<") == (0 if event.kind == "login.refused" else 1)


NOTHING_KNOWN: dict[str, Any] = {
    "method": "",
    "tls": "",
    "backend": "",
    "client_port": 0,
    "auth_time": None,
    "connect_time": None,
    "login_time": None,
}
LINES = {
    "text": [
        (opened(), "debug imap session opened session=c0ffee-1 server=0.0.0.0:143 client=192.0.2.7"),
        (
            started("jane"),
            "debug imap relay started session=c0ffee-1 server=0.0.0.0:143 client=192.0.2.7"
            ' user=jane method=plain backend="192.0.2.1:143 (main)"',
        ),
        (
            refused("jane"),
            "warning imap login refused session=c0ffee-1 server=0.0.0.0:143 client=192.0.2.7"
            ' user=jane method=plain side=auth reason="no such user"',
        ),
        (
            remarked("jane"),
            "warning imap remark session=c0ffee-1 server=0.0.0.0:143 client=192.0.2.7"
            ' user=jane text="no PTR record"',
        ),
        (
            closed("jane"),
            "info imap session done session=c0ffee-1 server=0.0.0.0:143 client=192.0.2.7 client_port=40000"
            ' user=jane method=plain tls="TLSv1.3 TLS_AES_256_GCM_SHA384" backend="192.0.2.1:143 (main)"'
            " side=client auth_time=0.0011 connect_time=0.0022 login_time=0.0033"
            " duration=12.3456 bytes_in=100 bytes_out=2000",
        ),
        (
            closed(outcome="timeout", reason="too slow", relayed=False, **NOTHING_KNOWN),
            "warning imap session timeout session=c0ffee-1 server=0.0.0.0:143 client=192.0.2.7"
            ' side=client reason="too slow" duration=12.3456 bytes_in=100 bytes_out=2000',
        ),
        (
            closed("jane", "it said BAD", outcome="bad", side="backend", step="LOGIN", refusals=2),
            "error imap session bad session=c0ffee-1 server=0.0.0.0:143 client=192.0.2.7 client_port=40000"
            ' user=jane method=plain tls="TLSv1.3 TLS_AES_256_GCM_SHA384" backend="192.0.2.1:143 (main)"'
            ' side=backend step=LOGIN reason="it said BAD" refusals=2'
            " auth_time=0.0011 connect_time=0.0022 login_time=0.0033"
            " duration=12.3456 bytes_in=100 bytes_out=2000",
        ),
    ],
    "dovecot": [
        (opened(), "dovecot: imap-login: Debug: connected: rip=192.0.2.7, session=<c0ffee-1>"),
        (
            started("jane"),
            r"dovecot: imap-login: Debug: proxy(jane): started proxying to 192.0.2.1:143 \x28main\x29:"
            " user=<jane>, method=PLAIN, rip=192.0.2.7, session=<c0ffee-1>",
        ),
        (refused("jane"), "dovecot: auth: auth(jane,192.0.2.7,<c0ffee-1>): refused: no such user"),
        (
            remarked("jane"),
            "dovecot: imap-login: Warning: no PTR record (rip=192.0.2.7, session=<c0ffee-1>)",
        ),
        (
            closed("jane"),
            "dovecot: imap-login: Login: user=<jane>, method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, TLS,"
            " session=<c0ffee-1>",
        ),
        (
            closed("jane", relayed=False, refusals=3, outcome="refused", tls=""),
            "dovecot: imap-login: Disconnected (auth failed, 3 attempts in 12 secs): user=<jane>,"
            " method=PLAIN, rip=192.0.2.7, lip=198.51.100.1, session=<c0ffee-1>",
        ),
        (
            closed("jane", "503 from it", relayed=False, outcome="auth_error", side="auth"),
            "dovecot: imap-login: Disconnected (auth_error: 503 from it): user=<jane>, method=PLAIN,"
            " rip=192.0.2.7, lip=198.51.100.1, TLS, session=<c0ffee-1>",
        ),
        (
            closed(method="", relayed=False, outcome="quit"),
            "dovecot: imap-login: Disconnected (no auth attempts in 12 secs): user=<>,"
            " rip=192.0.2.7, lip=198.51.100.1, TLS, session=<c0ffee-1>",
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("form", "event", "line"),
    [pytest.param(form, *row, id=f"{form}-{row[1]:.40}") for form, rows in LINES.items() for row in rows],
)
def test_lines_of_the_forms_for_people_and_filters(
    tmp_path: Path, form: str, event: Event, line: str
) -> None:
    assert logged(tmp_path, form, event) == [f"{STAMP} {line}"]


RECORD = {
    "time": STAMP,
    "level": "info",
    "event": "session.closed",
    "session": "c0ffee-1",
    "server": "0.0.0.0:143",
    "protocol": "imap",
    "client": "192.0.2.7",
    "client_port": 40000,
    "local": "198.51.100.1",
    "local_port": 143,
    "listener": "0.0.0.0:143",
    "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384",
    "sni": "",
    "user": "jane",
    "method": "plain",
    "backend": BACKEND,
    "outcome": "done",
    "side": "client",
    "reason": "",
    "step": "",
    "relayed": True,
    "refusals": 0,
    "duration": 12.3456,
    "auth_time": 0.0011,
    "connect_time": 0.0022,
    "login_time": 0.0033,
    "bytes_in": 100,
    "bytes_out": 2000,
    "client_id": "",
    "dovecot": {"code": ""},
}


def test_the_record_of_a_session_in_json(tmp_path: Path) -> None:
    [line] = logged(tmp_path, "json", closed("jane"))
    assert json.loads(line) == RECORD


def test_json_has_null_for_the_times_of_steps_that_the_session_did_not_reach(tmp_path: Path) -> None:
    [line] = logged(tmp_path, "json", closed(relayed=False, **NOTHING_KNOWN))
    found = json.loads(line)
    assert [found[name] for name in ("auth_time", "connect_time", "login_time")] == [None, None, None]
    assert found["relayed"] is False


def test_the_words_of_a_client_about_itself(tmp_path: Path) -> None:
    agent = 'name: "K-9"\n\x1b[31m, version: 6'
    (tmp_path / "text").mkdir()
    [line] = logged(tmp_path, "json", closed("jane", client_id=agent))
    assert json.loads(line)["client_id"] == agent
    [line] = logged(tmp_path / "text", "text", closed("jane", client_id=agent))
    assert r' client_id="name: \x22K-9\x22\x0a\x1b[31m, version: 6" backend=' in line


@pytest.mark.parametrize(
    ("differing", "code"),
    [
        ({"relayed": True, "outcome": "gone", "side": "backend"}, ""),
        ({"outcome": "refused", "refusals": 1}, "auth_failed"),
        ({"outcome": "quit", "refusals": 2}, "auth_failed"),
        ({"outcome": "auth_error", "side": "auth"}, "temp_fail"),
        ({"outcome": "backend_unreachable", "side": "backend"}, "temp_fail"),
        ({"outcome": "backend_refused", "side": "backend", "step": "greeting"}, "temp_fail"),
        ({"outcome": "backend_refused", "side": "backend", "step": "LOGIN"}, "proxy_dest_auth_failed"),
        ({"outcome": "backend_refused", "side": "backend", "step": "PASS"}, "proxy_dest_auth_failed"),
        ({"outcome": "backend_refused", "side": "backend", "step": "USER"}, "temp_fail"),
        ({"outcome": "timeout", "side": "backend", "step": "LOGIN"}, "temp_fail"),
        ({"outcome": "no_certificate", "method": ""}, "client_ssl_cert_missing"),
        ({"outcome": "bug", "side": "geomail"}, "internal_failure"),
        ({"outcome": "shutdown", "side": "geomail"}, "shutting_down"),
        ({"outcome": "quit", "method": ""}, "no_auth_attempts"),
        ({"outcome": "gone"}, ""),
    ],
)
def test_why_there_was_no_login_in_dovecots_words(
    tmp_path: Path, differing: dict[str, object], code: str
) -> None:
    [line] = logged(tmp_path, "json", closed(**{"user": "jane", "relayed": False, **differing}))  # type: ignore[arg-type]
    assert json.loads(line)["dovecot"] == {"code": code}


def test_the_name_that_a_client_asked_for(tmp_path: Path) -> None:
    event = closed("jane", sni='mail.example.org" side=x')

    text = logged(tmp_path, "text", event)[0]
    line = logged(tmp_path, "json", event)[-1]

    assert r' sni="mail.example.org\x22 side=x" ' in text
    assert json.loads(line)["sni"] == 'mail.example.org" side=x'


@pytest.mark.parametrize(
    ("outcome", "side", "level"),
    [
        ("done", "backend", "info"),
        ("quit", "client", "info"),
        ("gone", "client", "info"),
        ("refused", "auth", "info"),
        ("kicked", "geomail", "info"),
        ("timeout", "client", "warning"),
        ("violation", "client", "warning"),
        ("gone", "backend", "error"),
        ("timeout", "backend", "error"),
        ("auth_error", "auth", "error"),
        ("bug", "geomail", "error"),
    ],
)
def test_the_level_of_a_finished_session(outcome: str, side: str, level: str) -> None:
    assert choose_level(closed(outcome=outcome, side=side)) == level


def test_a_level_leaves_out_the_lines_below_it(tmp_path: Path) -> None:
    log, stream = Log(), EventStream()
    log.use(target=str(tmp_path / "log"), level="error")
    log.subscribe(stream)
    for event in (*every_kind("jane", "x").values(), closed(outcome="timeout")):
        stream.emit(event)
    log.say("notice", "started")
    assert re.findall(r"imap \S+ \S+", (tmp_path / "log").read_text()) == ["imap session auth_error"]


@pytest.mark.parametrize(
    ("form", "one"),
    [
        ("text", r"\S+Z warning one \\x1b\[2J"),
        ("json", r'\{"time":"\S+Z","level":"warning","event":"message","text":"one \\\\x1b\[2J"\}'),
        ("dovecot", r"\S+Z dovecot: geomail: Warning: one \\x1b\[2J"),
    ],
)
def test_each_line_of_a_message_is_one_line_of_the_log(tmp_path: Path, form: Any, one: str) -> None:
    log = Log()
    log.use(target=str(tmp_path / "log"), format=form)
    log.say("warning", "one \x1b[2J\ntwo")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert re.fullmatch(one, first)
    assert "two" in second
