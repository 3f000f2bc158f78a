"""geomail-control(7) describes what the server sends."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from geomail.console.control import LONGEST_REQUEST, MOST_REQUESTS, PROTOCOL
from geomail.console.process import MOST_CLIENTS
from geomail.console.requests import TRACE_CAPS
from geomail.control.selection import FIELDS, MOST_PATTERNS
from geomail.events import KINDS, TraceLine
from tests.console.support import Asker, Running
from tests.servers.support import program

PAGE = Path(__file__).parents[2] / "man" / "man7" / "geomail-control.7"
MANUAL = PAGE.read_text()
WORDS = set(re.findall(r"[a-z_.-]+", MANUAL))


def names(value: Any) -> set[str]:
    """Return the fields of an object; without objects whose keys are names of servers or backends."""
    fields = set(value)
    for inner in ("configuration", "totals", "rates"):
        fields |= set(value.get(inner, ()))
    return fields


@pytest.mark.parametrize(
    "kind", [*KINDS, TraceLine.kind, "server.reloaded", "server.reload_refused", "server.ending"]
)
def test_every_kind_of_event(kind: str) -> None:
    assert f".It Cm {kind}\n" in MANUAL


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_a_selection(field: str) -> None:
    assert re.search(rf"\.Cm {field}\b", MANUAL)


def test_every_request(asker: Asker) -> None:
    [answer] = asker.ask("?")
    requests = answer["text"].partition("must be one of ")[2].split(", ")
    assert len(requests) >= 5
    for request in requests:
        assert f".Ss {request}\n" in MANUAL


def test_every_field_of_a_session_and_of_status(shared: Running, asker: Asker) -> None:
    shared.imap("manual@example.test")
    [session] = asker.sessions(user="manual@*")
    status = asker.done("status")
    told = names(session) | names(status) | names(status["workers"][0])
    for rows in (status["servers"], status["backends"]):
        told |= names(next(iter(rows.values())))
    assert told - WORDS == set()


def test_numbers() -> None:
    assert f'{{"geomail":{PROTOCOL},' in MANUAL
    assert f"at most {LONGEST_REQUEST} bytes" in MANUAL.replace("\n", " ")
    assert f"up to {MOST_REQUESTS} unanswered requests" in MANUAL.replace("\n", " ")
    assert f"the {MOST_CLIENTS + 1}th connection" in MANUAL.replace("\n", " ")
    assert f"up to {MOST_PATTERNS} patterns" in MANUAL.replace("\n", " ")
    for usual, most in TRACE_CAPS.values():
        assert re.search(rf"{usual}[, a-z]+ {most} at most", MANUAL)


def test_mandoc_has_nothing_to_say() -> None:
    said = subprocess.run(
        [program("mandoc"), "-T", "lint", PAGE], capture_output=True, text=True, check=False
    )
    complaints = [line for line in said.stdout.splitlines() if "referenced manual not found" not in line]
    assert complaints == []
