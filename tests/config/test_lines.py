import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geomail.config.lines import KeyPath, find_line, scan

EVERYTHING = r'''# a comment with "quotes" and [brackets]
title = "x"  # another
[mail]
server_name = 'mail.example.org'
ssl_certificate = [
  "a.crt",  # ] "
  "b.crt",

  'c.crt'
]
text = """
[no.table]
no = "key" \""" ""
"""
literal = <quotes>
[neither]
<quotes>
after.the.text = 1
"quoted key" . b = 2
auth_http_header = { X-A = "1", "X.B" = '}', c.d = [1, 2] }

[[mail.server]]
listen = ["0.0.0.0:25", { address = "0.0.0.0:465", ssl = true }]
timeout = 1979-05-27 07:32:00
[[mail.server]]
  listen = [ [1, 2],
             [3] ]  # nested
[mail.server.limits]
rate = 1.5
[ backends . "a.b" ]
address="x:1"
[[mail.server]]
'''.replace("<quotes>", "'" * 3)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("title",), 2),
        (("mail",), 3),
        (("mail", "server_name"), 4),
        (("mail", "ssl_certificate"), 5),
        (("mail", "ssl_certificate", 0), 6),
        (("mail", "ssl_certificate", 1), 7),
        (("mail", "ssl_certificate", 2), 9),
        (("mail", "text"), 11),
        (("mail", "literal"), 15),
        (("mail", "after"), 18),
        (("mail", "after", "the", "text"), 18),
        (("mail", "quoted key", "b"), 19),
        (("mail", "auth_http_header"), 20),
        (("mail", "auth_http_header", "X.B"), 20),
        (("mail", "auth_http_header", "c", "d", 1), 20),
        (("mail", "server"), 22),
        (("mail", "server", 0), 22),
        (("mail", "server", 0, "listen", 1, "ssl"), 23),
        (("mail", "server", 0, "timeout"), 24),
        (("mail", "server", 1), 25),
        (("mail", "server", 1, "listen"), 26),
        (("mail", "server", 1, "listen", 1, 0), 27),
        (("mail", "server", 1, "limits"), 28),
        (("mail", "server", 1, "limits", "rate"), 29),
        (("backends", "a.b"), 30),
        (("backends", "a.b", "address"), 31),
        (("mail", "server", 2), 32),
    ],
)
def test_lines(path: KeyPath, line: int) -> None:
    assert scan(EVERYTHING)[path] == line


def test_what_has_no_line_has_that_of_what_is_around_it() -> None:
    lines = scan(EVERYTHING)

    assert find_line(lines, ("mail", "server", 1, "protocol")) == 25
    assert find_line(lines, ("mail", "timeout")) == 3
    assert find_line(lines, ("log", "level")) == 0
    assert find_line(lines, ()) == 0


def paths(value: Any, base: KeyPath = ()) -> set[KeyPath]:
    """Return the paths of all values in a document."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {base} - {()} | {path for step, inner in steps for path in paths(inner, (*base, step))}


STRINGS = [
    '""',
    "''",
    '"a # b"',
    r'"\" ] } , = # \\"',
    "'\\'",
    '""""""',
    '"""a"""',
    '"""a"""""',
    '"""a""""',
    r'"""\""""""',
    '"""\n[x]\ny = 1\n"""',
    "''''''",
    "'''a'''''",
    "'''\n'x'\n'''",
]
SCALARS = st.sampled_from([*STRINGS, "1", "-1.5e3", "true", "1979-05-27 07:32:00Z", "inf"])
BLANKS = st.sampled_from(["", " ", "\n", " # ] } \" ' =\n", "\r\n\t"])
KEYS = st.sampled_from(["a", "b-c", "1", '"q k"', "'l.k'", '"\\u0041\\""', '""', "d . e"])


@st.composite
def values(draw: st.DrawFn, depth: int = 2) -> str:
    if depth == 0 or draw(st.booleans()):
        return draw(SCALARS)
    if draw(st.booleans()):
        items = [
            draw(BLANKS) + draw(values(depth - 1)) + draw(BLANKS) for _ in range(draw(st.integers(0, 3)))
        ]
        return f"[{','.join(items)}{draw(st.sampled_from([',', ''])) if items else ''}{draw(BLANKS)}]"
    keys = draw(st.lists(KEYS, max_size=3, unique=True))
    return f"{{ {', '.join(f'{key} = {draw(values(depth - 1))}' for key in keys)} }}"


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = []
    for header in draw(
        st.lists(st.sampled_from(["[t]", "[[a]]", "[a.in]", "[[a.deep]]", "[a.deep.x]"]), max_size=6)
    ):
        lines.append(header)
        for key in draw(st.lists(KEYS, max_size=3, unique=True)):
            lines.append(f"{key} = {draw(values())} {draw(st.sampled_from(['', '# x = 1']))}")
    return "\n".join(lines) + draw(st.sampled_from(["", "\n"]))


@given(documents())
def test_it_finds_the_paths_that_the_toml_reader_finds(text: str) -> None:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert set(scan(text)) == paths(content)
