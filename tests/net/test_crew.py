"""Greenlets that are used again, and the calls in them."""

import gevent
import pytest

from geomail.net import crew as module
from geomail.net.crew import Crew


def many_at_once(crew: Crew, calls: int) -> None:
    """Run so many calls at the same time, and wait for their end."""
    go_on = gevent.event.Event()
    jobs = [crew.start(go_on.wait) for _ in range(calls)]
    gevent.sleep(0)
    go_on.set()
    for job in jobs:
        job.join()
    gevent.sleep(0)


def test_there_are_never_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SPARE", 5)
    crew = Crew()
    many_at_once(crew, 10)
    assert len(crew.idle) == 5


def test_a_call_that_is_killed_before_it_began_ends() -> None:
    crew = Crew()
    job = crew.start(gevent.sleep, 10)
    job.kill()
    assert (job.finished, len(crew.idle)) == (True, 1)


def test_a_call_that_waits_on_its_way_out_is_waited_for() -> None:
    crew = Crew()
    done: list[str] = []

    def call() -> None:
        try:
            gevent.sleep(10)
        finally:
            gevent.sleep(0.01)
            done.append("its end")

    job = crew.start(call)
    gevent.sleep(0)
    job.kill()
    assert done == ["its end"]
    assert job.finished
