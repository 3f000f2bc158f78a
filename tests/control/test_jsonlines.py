"""Objects as lines, and a stream cut into them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geomail.control.jsonlines import BadLine, Lines, decode, encode

VALUES = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.text()), max_size=5)


@given(VALUES)
def test_a_line_holds_the_object_and_nothing_that_steers_a_terminal(value: dict[str, object]) -> None:
    line = encode(value)
    assert line.endswith(b"\n")
    assert line[:-1].isascii()
    assert line[:-1].decode().isprintable() or b"\x7f" in line
    assert decode(line) == value


@given(st.lists(VALUES, max_size=5), st.data())
def test_lines_come_out_whole_however_the_stream_was_cut(
    values: list[dict[str, object]], data: st.DataObject
) -> None:
    stream, lines, found = b"".join(map(encode, values)), Lines(10_000), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += lines.feed(stream[:size])
        stream = stream[size:]
    assert list(map(decode, found)) == values


@pytest.mark.parametrize("line", [b"", b"[]", b"1", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(BadLine):
        decode(line)


def test_a_line_is_as_long_as_it_may_be_and_no_longer() -> None:
    lines = Lines(10)
    assert lines.feed(b"x" * 10) == []
    assert lines.feed(b"\n") == [b"x" * 10]
    with pytest.raises(BadLine):
        lines.feed(b"x" * 11)
    with pytest.raises(BadLine):
        Lines(10).feed(b"x" * 11 + b"\n")
