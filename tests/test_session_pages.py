"""The live sessions of a worker: the cost of a page, and that each session is on exactly one page.

These run on the sources alone: in the compiled build a stand-in cannot take the place of a session.
"""

from itertools import chain
from typing import Any

from geomail.net.crew import Crew
from geomail.session.registry import PAGE, SCANNED, Sessions


class Session:
    """The part of a session that the registry uses; ``looked`` counts the descriptions."""

    looked = 0

    def __init__(self, number: int) -> None:
        self.number = number

    def describe(self) -> dict[str, Any]:
        Session.looked += 1
        return {"user": f"user{self.number}"}


def many(number: int) -> Sessions:
    sessions = Sessions(Crew())
    for count in range(1, number + 1):
        sessions.add(count, Session(count))  # type: ignore[arg-type]
    return sessions


def pages(sessions: Sessions, user: str) -> list[list[str]]:
    """Return the users on each page."""
    found: list[list[str]] = []
    after: int | None = 0
    while after is not None:
        Session.looked = 0
        page = sessions.list_page({"select": {"user": [user]}, "after": after})
        assert Session.looked <= SCANNED + 1
        found.append([one["user"] for one in page["sessions"]])
        after = page["after"]
    return found


def test_a_page_holds_a_limited_number_of_sessions() -> None:
    found = pages(many(PAGE * 2 + 7), "*")
    assert [len(page) for page in found] == [PAGE, PAGE, 7]
    assert [*chain(*found)] == [f"user{number}" for number in range(1, PAGE * 2 + 8)]


def test_a_search_for_few_sessions_examines_a_limited_number_at_a_time() -> None:
    found = pages(many(SCANNED * 3), f"user{SCANNED * 2 + 5}")
    assert len(found) >= 3
    assert [*chain(*found)] == [f"user{SCANNED * 2 + 5}"]
