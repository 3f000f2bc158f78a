"""A field has the same name in the events, both logs, the control socket, the commands and the manuals."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from geomail.control.selection import FIELDS as SELECTABLE
from geomail.errors import SessionError
from geomail.events import FIELD_NAMES, KINDS, EventStream, SessionClosed
from geomail.sinks.log import Format, Log
from geomail_cli import who
from tests.console.support import Asker, Running
from tests.sinks.support import closed, opened, refused, remarked, started

MANUALS = Path(__file__).parents[1] / "man"
CLOSED = set(FIELD_NAMES[SessionClosed.kind])
#: The fields that a line of the text form names by their position.
UNNAMED = {"time", "protocol", "outcome"}
#: The fields that only the other forms have.
NOT_IN_TEXT = {
    "relay.started": {"auth_time", "connect_time", "login_time"},
    "session.closed": {"local", "local_port", "listener", "relayed"},
}
#: The facts about a live session that no event has.
LIVE = {"state", "started", "idle", "worker"}
EVENTS = [
    opened(),
    refused("jane", side="backend"),
    started("jane"),
    remarked("jane"),
    closed("jane", "why", sni="mail.example.org", client_id="name: x", step="LOGIN", refusals=1),
]


def write_log(folder: Path, form: Format) -> list[str]:
    """Return a line of the log for each of EVENTS."""
    log, stream, path = Log(), EventStream(), folder / "log"
    log.use(target=str(path), format=form, level="debug")
    log.subscribe(stream)
    for event in EVENTS:
        stream.emit(event)
    log.close()
    return path.read_text().splitlines()


def test_every_kind_of_event_is_tried() -> None:
    assert {event.kind for event in EVENTS} == set(KINDS)


def test_the_text_log(tmp_path: Path) -> None:
    for event, line in zip(EVENTS, write_log(tmp_path, "text"), strict=True):
        names = re.findall(r" ([a-z_]+)=", re.sub(r'"[^"]*"', '""', line))
        expected = set(FIELD_NAMES[event.kind]) - UNNAMED - NOT_IN_TEXT.get(event.kind, set())
        assert sorted(names) == sorted(expected), event.kind


def test_the_json_log(tmp_path: Path) -> None:
    for event, line in zip(EVENTS, write_log(tmp_path, "json"), strict=True):
        more = {"event", "level"} | ({"dovecot"} if event.kind == "session.closed" else set())
        pairs = json.loads(line, object_pairs_hook=list)
        assert sorted(name for name, _ in pairs) == sorted({*FIELD_NAMES[event.kind], *more}), event.kind


def test_the_control_socket(shared: Running, asker: Asker) -> None:
    user = "names@example.test"
    asker.tail(select={"user": user})
    shared.imap(user)
    with shared.asker() as other:
        [session] = other.sessions("kick", user=user)
    assert set(session) - LIVE <= CLOSED
    assert set(session) >= LIVE
    for kind in ("relay.started", "session.closed"):
        assert asker.event(kind).keys() == {"id", "event", *FIELD_NAMES[kind]}


def test_the_commands() -> None:
    assert set(who.FIELDS) - LIVE <= CLOSED
    assert set(SELECTABLE) <= CLOSED


def find_commands(text: str) -> Iterator[str]:
    """Yield the words that a part of a manual sets as ``Cm``."""
    for line in re.findall(r"^\..*?\bCm (.*)", text, re.MULTILINE):
        yield from re.findall(r"[a-z_.]+[a-z]", line)


def find_section(page: str, title: str) -> str:
    """Return the text of a section or subsection of a manual."""
    text = (MANUALS / page).read_text()
    found = re.search(rf"^\.S[sh] {title}\n(.*?)^\.S[sh] ", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def test_the_manual_of_the_log() -> None:
    items = re.findall(
        r"^\.It .*", find_section("man1/geomail-serve.1", "The record of a session"), re.MULTILINE
    )
    assert sorted(find_commands("\n".join(items))) == sorted({*CLOSED, "event", "level", "dovecot"})


def test_the_manual_of_who() -> None:
    items = re.findall(r"^\.It .*", find_section("man7/geomail-control.7", "who"), re.MULTILINE)
    names = set(find_commands("\n".join(items)))
    assert names - LIVE <= CLOSED
    assert names >= LIVE


def list_outcomes(error: type[SessionError] = SessionError) -> set[str]:
    """Return the outcomes of this error and of its subclasses."""
    return {error.outcome}.union(*map(list_outcomes, error.__subclasses__()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_manual_of_tail(kind: str) -> None:
    section = find_section("man7/geomail-control.7", "tail").partition(
        "The server sends the following events"
    )[0]
    found = re.search(rf"^\.It Cm {kind}\n(.*?)^\.(It|El)", section, re.MULTILINE | re.DOTALL)
    assert found
    values = {"done", "quit", *list_outcomes(), "client", "auth", "backend", "geomail", "listen"}
    common = {"session", "server", "protocol", "client", "time", "user"}
    assert set(find_commands(found[1])) <= set(FIELD_NAMES[kind]) | values
    assert set(find_commands(found[1])) >= set(FIELD_NAMES[kind]) - common
