"""geomail reads an nginx.conf as nginx does."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geomail.config.nginx.statements import NginxError, Statement, read


def statements(text: str, folder: Path) -> tuple[Statement, ...]:
    file = folder / "nginx.conf"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    return read(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b c;", ["a", "b", "c"]),
        ("a\tb\r\n  c ;", ["a", "b", "c"]),
        ("# b;\na c; # d", ["a", "c"]),
        ("a b#c;", ["a", "b#c"]),
        ("a b}c;", ["a", "b}c"]),
        ("a ${b}{c;", None),
        ("a ${b}c;", ["a", "${b}c"]),
        ("a $b;", ["a", "$b"]),
        ("a ${{b;", ["a", "${{b"]),
        (r"a \${b};", None),
        ('if ($a ~ "b") c;', ["if", "($a", "~", "b", ")", "c"]),
        ('a "b c" "d;{}#";', ["a", "b c", "d;{}#"]),
        ('a \'b "c"\' "it\'s";', ["a", 'b "c"', "it's"]),
        ('a "";', ["a", ""]),
        ('a b"c"d;', ["a", 'b"c"d']),
        (r'a "b\"c" d\ e \; "f\\";', ["a", 'b"c', r"d\ e", r"\;", "f\\"]),
        (r'a "b\tc\n\r" d\te;', ["a", "b\tc\n\r", "d\te"]),
        (r"a ^\d+$;", ["a", r"^\d+$"]),
        ('a "b\nc" d;', ["a", "b\nc", "d"]),
        ('"a" b;', ["a", "b"]),
        ("a ä;", ["a", "ä"]),
    ],
)
def test_words(text: str, words: list[str] | None, tmp_path: Path) -> None:
    if words is None:
        with pytest.raises(NginxError):
            statements(text, tmp_path)
        return
    (only,) = statements(text, tmp_path)

    assert [only.name, *only.args] == words
    assert only.block is None


def test_blocks_and_their_lines(tmp_path: Path) -> None:
    text = 'a;\nb "x\ny" {\n  c {\n    d 1; e\n2;\n  }\n}\n\nf;\n'
    a, b, f = statements(text, tmp_path)

    assert [(s.name, s.line) for s in (a, b, f)] == [("a", 1), ("b", 2), ("f", 10)]
    assert b.block is not None
    (c,) = b.block
    assert c.block is not None
    assert [(s.name, s.args, s.line) for s in c.block] == [("d", ("1",), 5), ("e", ("2",), 5)]


def test_includes_stand_in_their_place(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "2.conf").write_text("two;\n")
    (tmp_path / "d" / "1.conf").write_text("\none;\ninclude d/more;")
    (tmp_path / "d" / "more").write_text("more;")
    (outer,) = statements("a { include d/*.conf; last; include none/*.conf; }", tmp_path)

    assert outer.block is not None
    found = [(s.name, str(Path(s.file).relative_to(tmp_path)), s.line) for s in outer.block]
    assert found == [
        ("one", "d/1.conf", 2),
        ("more", "d/more", 1),
        ("two", "d/2.conf", 1),
        ("last", "nginx.conf", 1),
    ]


LUA = r"""
  local a = "}" .. '"' .. 'it\'s }' .. "\"}" -- it's } "
  --[[ } " '
  } ]] local b = [==[ }]] " ]==] .. [[ ' }
  }]]
  if a then return { b = { "{" } } end --[=[ } ]] } ]=]
"""


def test_lua_is_passed_over(tmp_path: Path) -> None:
    blocks = f"content_by_lua_block {{{LUA}}} set_by_lua_block $x {{ return '}}' }} b;"
    a, c, e = statements(f"a {{ {blocks} }}\nc_by_lua_block d;\ne;", tmp_path)

    assert a.block is not None
    assert [(s.name, s.args, s.line, s.block) for s in a.block] == [
        ("content_by_lua_block", (), 1, ()),
        ("set_by_lua_block", ("$x",), 7, ()),
        ("b", (), 7, None),
    ]
    assert [(s.name, s.line) for s in (c, e)] == [("c_by_lua_block", 8), ("e", 9)]


@pytest.mark.parametrize("lua", ["", "{", "'}'", "[[}]]", "--[[ }", "-- }", "if { }"])
def test_lua_without_an_end(lua: str, tmp_path: Path) -> None:
    with pytest.raises(NginxError, match="the file ends within the block"):
        statements(f"\ninit_by_lua_block {{ {lua}\n", tmp_path)


def test_blocks_can_be_left_unread(tmp_path: Path) -> None:
    (tmp_path / "nginx.conf").write_text(
        "a { x { include gone; } include broken; }\ninclude there; b { include there; }"
    )
    (tmp_path / "there").write_text("c;")
    (tmp_path / "broken").write_text("}")
    a, c, b = read(tmp_path / "nginx.conf", ("a",))

    assert (a.name, a.block, c.name) == ("a", (), "c")
    assert b.block is not None
    assert [s.name for s in b.block] == ["c"]


def test_an_include_may_be_absolute(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other;")

    assert [s.name for s in statements(f"include {tmp_path}/oth*r;", tmp_path)] == ["other"]


@pytest.mark.parametrize(
    ("text", "file", "line", "said"),
    [
        ("a;\ninclude nginx.conf;\n", "nginx.conf", 2, "more than 16 includes within each other"),
        ("\ninclude gone;", "nginx.conf", 2, "cannot be read: No such file or directory"),
        ("\ninclude .;", "nginx.conf", 2, "cannot be read: Is a directory"),
        ("include broken;", "broken", 2, 'unexpected "}"'),
        ("a {\n b;\n", "nginx.conf", 1, 'within the block that starts in line 1; add "}"'),
        ("a;\nb 'c\n", "nginx.conf", 2, "the file ends within quotes; add the missing quote"),
        ("a;\nb 'c'd;\n", "nginx.conf", 2, 'unexpected "d" after a quote; put a space between them'),
        ("a;\n\nb", "nginx.conf", 3, 'the directive "b" must end with ";"; add it'),
        ("a {\n b }\n", "nginx.conf", 2, 'the directive "b" must end with ";"; add it'),
        ("{ }", "nginx.conf", 1, 'unexpected "{"'),
    ],
)
def test_what_cannot_be_read(text: str, file: str, line: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("a;\n}\n")
    with pytest.raises(NginxError) as refused:
        statements(text, tmp_path)

    assert said in str(refused.value)
    assert (Path(refused.value.file).name, refused.value.line) == (file, line)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("ab {};#\"'\\\n$")))
def test_anything_is_read_or_refused(text: str, tmp_path: Path) -> None:
    with contextlib.suppress(NginxError):
        statements(text, tmp_path)
