"""The report of a child to its master that it serves; the master may not read it any more."""

from __future__ import annotations

import gevent

from geomail.process.readiness import Readiness


def test_only_the_first_report_of_a_child_counts() -> None:
    child = Readiness()
    child.report("no room")
    child.report()

    assert child.await_result() == "no room"
    child.close()


def test_a_child_that_serves_reports_no_failure() -> None:
    child = Readiness()
    child.report()

    assert child.await_result() == ""
    child.close()


def test_a_child_goes_on_if_the_master_does_not_read_any_more() -> None:
    """Another child has failed first, so the reload is undone; this child may have clients already."""
    child = Readiness()
    child.close()
    gevent.sleep(0.01)  # where gevent has a hub, it closes descriptors a turn later

    child.report()
    child.report("this report is not read either")
