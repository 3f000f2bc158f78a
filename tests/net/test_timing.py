"""Time limits: each turns its own timer into an error, and no other."""

import os
import time

import gevent
import pytest
from gevent import monkey

from geomail.errors import PeerTimeout
from geomail.net.timing import TimeLimit
from tests.net.support import PATIENCE

SHORT, LONG = 0.02, PATIENCE
_hold_up_everything = monkey.get_original("time", "sleep")


def test_a_block_that_takes_too_long() -> None:
    began = time.monotonic()

    with (
        pytest.raises(PeerTimeout, match=r"^client was silent for 0\.02 s$") as raised,
        TimeLimit(SHORT, blame="client", private="client was silent for {seconds} s"),
    ):
        gevent.sleep(LONG)

    assert SHORT - 0.002 <= time.monotonic() - began < LONG / 2
    assert raised.value.blame == "client"
    assert raised.value.__suppress_context__ or "GEOMAIL_COMPILED" in os.environ  # mypyc knows no "from None"


def test_a_block_that_ends_in_time_is_not_interrupted_later() -> None:
    with TimeLimit(SHORT, blame="client", private="unheard"):
        pass
    gevent.sleep(SHORT * 2)


def test_an_error_in_the_block_is_not_touched() -> None:
    with pytest.raises(ValueError, match="mine"), TimeLimit(SHORT, blame="client", private="unheard"):
        raise ValueError("mine")
    gevent.sleep(SHORT * 2)


@pytest.mark.parametrize(
    ("outer", "inner", "private"),
    [
        pytest.param(SHORT, LONG, "outer", id="the outer one fires inside the inner one"),
        pytest.param(LONG, SHORT, "inner", id="the inner one fires"),
    ],
)
def test_limits_nest(outer: float, inner: float, private: str) -> None:
    seen: list[BaseException] = []
    with (
        pytest.raises(PeerTimeout, match=private),
        TimeLimit(outer, blame="client", private="outer"),
    ):
        try:
            with TimeLimit(inner, blame="backend", private="inner"):
                gevent.sleep(LONG)
        except BaseException as error:
            seen.append(error)
            raise

    assert isinstance(seen[0], PeerTimeout) is (private == "inner")


def test_the_outer_limit_goes_on_after_the_inner_one_has_fired() -> None:
    with (
        pytest.raises(PeerTimeout, match="outer"),
        TimeLimit(SHORT * 3, blame="client", private="outer"),
    ):
        with (
            pytest.raises(PeerTimeout, match="inner"),
            TimeLimit(SHORT, blame="client", private="inner"),
        ):
            gevent.sleep(LONG)
        gevent.sleep(LONG)


def test_of_limits_that_are_over_at_once_the_outermost_raises() -> None:
    with (
        pytest.raises(PeerTimeout, match="outer"),
        TimeLimit(SHORT, blame="client", private="outer"),
        TimeLimit(SHORT, blame="backend", private="inner"),
    ):
        _hold_up_everything(SHORT * 3)
        gevent.sleep(LONG)


def test_a_postponed_limit_does_not_postpone_others() -> None:
    inner = TimeLimit(SHORT, blame="backend", private="inner")
    with (
        gevent.Timeout(LONG / 2),
        pytest.raises(PeerTimeout, match="outer"),
        TimeLimit(SHORT * 3, blame="client", private="outer"),
        inner,
    ):
        inner.deadline += LONG
        gevent.sleep(LONG)


def test_another_timeout_passes_through() -> None:
    with gevent.Timeout(SHORT) as theirs:
        with pytest.raises(gevent.Timeout) as raised, TimeLimit(LONG, blame="client", private="ours"):
            gevent.sleep(LONG)
        assert raised.value is theirs


def test_a_killed_block_leaves_no_timer() -> None:
    def work() -> None:
        with TimeLimit(SHORT, blame="client", private="unheard"):
            gevent.sleep(LONG)

    job = gevent.spawn(work)
    gevent.sleep(0)
    job.kill()
    gevent.sleep(SHORT * 2)

    assert isinstance(job.value, gevent.GreenletExit)
