"""The master's side of the console: it never waits, and forgets nothing that it had to say."""

from _socket import AF_UNIX, SOCK_SEQPACKET, socketpair

from geomail.control.jsonlines import decode
from geomail.process.keeper import Keeper
from geomail.sinks.log import Log


def test_what_a_console_that_does_not_read_had_no_room_for_is_said_again() -> None:
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
    assert more == b"", "it was said, so it need not be said again"
    theirs.close()
    keeper.forget()
