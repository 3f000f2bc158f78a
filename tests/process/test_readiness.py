"""The report of a child to its master that it serves, where the master may not listen any more."""

from __future__ import annotations

import gevent

from geomail.process.readiness import Readiness


def test_a_child_is_heard_once() -> None:
    child = Readiness()
    child.report("no room")
    child.report()

    assert child.await_result() == "no room"
    child.close()


def test_a_child_that_serves_says_nothing_else() -> None:
    child = Readiness()
    child.report()

    assert child.await_result() == ""
    child.close()


def test_a_child_goes_on_where_the_master_does_not_listen_any_more() -> None:
    """Another child has failed first: the reload is undone, and this one may have clients already."""
    child = Readiness()
    child.close()
    gevent.sleep(0.01)  # where gevent has a hub, it closes descriptors a turn later

    child.report()
    child.report("and its end is not heard either")
