"""A viewer's stream of events: what it holds back, and what it counts as lost."""

from geomail.console.viewer import MOST_HELD, MOST_HELD_BYTES, News, Viewer
from geomail.control.jsonlines import decode
from geomail.control.selection import Selection

EVENT = b'{"event":"session.opened"}'


class Box:
    """An outbox with room for ``room`` pieces."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.lines: list[bytes] = []

    def offer(self, data: bytes) -> bool:
        if not self.room:
            return False
        self.room -= 1
        self.lines += data.splitlines()
        return True


def viewer_of(box: Box) -> Viewer:
    return Viewer(box, 7, ["session.opened"], Selection({}))  # type: ignore[arg-type]


def test_what_is_held_back_until_it_begins_is_bounded() -> None:
    box = Box(room=100)
    viewer = viewer_of(box)
    for _ in range(MOST_HELD + 5):
        viewer.show(News([EVENT]))
    assert box.lines == []
    viewer.begin()
    viewer.tell_losses()
    losses = [line for line in map(decode, box.lines) if "lost" in line]
    assert losses == [{"id": 7, "lost": 5}]
    assert len(box.lines) == MOST_HELD + 1


def test_what_is_held_back_is_bounded_in_bytes() -> None:
    box = Box(room=100)
    viewer = viewer_of(box)
    event = b'{"event":"session.opened","x":"%b"}' % (b"x" * 9000)
    for _ in range(MOST_HELD_BYTES // 9000 + 10):
        viewer.show(News([event]))
    viewer.begin()
    assert sum(map(len, box.lines)) <= MOST_HELD_BYTES * 1.01
    assert viewer.lost_ever >= 10


def test_losses_are_told_before_what_comes_after_them() -> None:
    box = Box(room=1)
    viewer = viewer_of(box)
    viewer.begin()
    for _ in range(4):
        viewer.show(News([EVENT]))
    box.room = 10
    viewer.show(News([EVENT, EVENT]))
    assert ["lost" in decode(line) for line in box.lines] == [False, True, False, False]
    assert decode(box.lines[1]) == {"id": 7, "lost": 3}
    assert viewer.lost_ever == 3
