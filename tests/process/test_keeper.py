"""The master's side of the console: it never waits, and loses no report of its state."""

from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair

from geomail.control.jsonlines import decode
from geomail.process.keeper import Keeper
from geomail.sinks.log import Log


def test_a_report_that_finds_no_room_is_sent_again() -> None:
    keeper = Keeper(Log())
    ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    keeper._line = ours
    sent = 0
    while not keeper._has_unsent:
        sent += 1
        keeper.report_state({"number": sent, "text": "x" * 1000})
    heard = [decode(theirs.recv(10_000))["state"]["number"] for _ in range(sent - 1)]
    assert heard == list(range(1, sent))
    keeper.send_unsent({"number": sent})
    keeper.send_unsent({"number": sent})
    assert decode(theirs.recv(10_000))["state"] == {"number": sent}
    try:
        more = theirs.recv(10_000)
    except BlockingIOError:
        more = b""
    assert more == b"", "a report that was sent is not sent again"
    theirs.close()
    keeper.forget()
