"""Incidents of a process: all are counted, and the log is not flooded."""

import pytest

from geomail.process.incidents import Incidents


def test_all_are_counted_and_the_same_words_logged_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    said: list[tuple[str, str]] = []
    noted = Incidents(lambda level, text: said.append((level, text)))
    for text in ("one", "one", "two", ""):
        noted.note("a", text)
    noted.note("b", "")
    now += 1.0
    noted.note("a", "one")

    assert noted.counts == {"a": 5, "b": 1}
    assert said == [("warning", "one"), ("warning", "two"), ("warning", "one")]
