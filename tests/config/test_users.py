"""The users file: the meaning of a line, and the message about a wrong line."""

from pathlib import Path
from typing import Any

import pytest

from geomail.config.schema import Users
from geomail.config.users import MOST_PROBLEMS, Entry, UsersFile, make_key, read_users
from geomail.errors import ConfigError
from geomail.hashes import recognise

BCRYPT = "$2y$05$uZG.IlXfHUgW2xp5isOtr.40.2HsMNPQkMV9MUNwXOiADoIXkvp7K"
ARGON2ID = "$argon2id$v=19$m=65536,t=3,p=1$wdRlLW6JLQqIQ80vjSv4ig$gtlwuX6n1TXyk+ruViG2Y7rq+k+b/UwVYYqTKjjhfyU"
BCRYPT_6 = BCRYPT.replace("$05$", "$06$")
SSHA = "{SSHA}ye4E2MtP42QBr7OMwxPuEde3AKfa2N5f"
BACKENDS = ("one", "two", "b.c")


def read(folder: Path, text: str | bytes, **options: Any) -> UsersFile:
    """Read a users file of this text."""
    file = folder / "users"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_users(Users(file=str(file), **options), BACKENDS)


def list_problems(folder: Path, text: str | bytes, **options: Any) -> list[str]:
    """Return ``line name: text`` of each problem in a users file of this text."""
    with pytest.raises(ConfigError) as raised:
        read(folder, text, **options)
    assert {problem.file for problem in raised.value.problems} == {str(folder / "users")}
    return [f"{problem.line} {problem.key}: {problem.text}" for problem in raised.value.problems]


ALL = frozenset({"smtp", "imap", "pop3"})
HASH = recognise(BCRYPT)
ENTRIES = {
    "the least": (f"ann:{BCRYPT}", Entry(HASH, "one")),
    "an end without words": (f"ann:{BCRYPT}:", Entry(HASH, "one")),
    "spaces around": (f"  ann:{BCRYPT}: \r", Entry(HASH, "one")),
    "its scheme's name": (f"ann:{{BLF-CRYPT}}{BCRYPT}", Entry(HASH, "one")),
    "a backend": (f"ann:{BCRYPT}:backend=b.c", Entry(HASH, "b.c")),
    "another name": (f"ann:{BCRYPT}:user=m%C3%BCller", Entry(HASH, "one", user="müller".encode())),
    "another password": (
        f"ann:{BCRYPT}:password=a:b=c%20d%25%3a",
        Entry(HASH, "one", password=b"a:b=c d%:"),
    ),
    "one protocol": (f"ann:{BCRYPT}:protocols=imap", Entry(HASH, "one", protocols=frozenset({"imap"}))),
    "two protocols": (
        f"ann:{BCRYPT}:protocols=smtp,pop3",
        Entry(HASH, "one", protocols=frozenset({"smtp", "pop3"})),
    ),
    "disabled": (f"ann:{BCRYPT}:disabled", Entry(HASH, "one", disabled=True)),
    "all of it": (
        f"ann:{BCRYPT}:disabled  password=p user=u\tprotocols=imap backend=two",
        Entry(HASH, "two", b"u", b"p", frozenset({"imap"}), disabled=True),
    ),
}


@pytest.mark.parametrize(("line", "entry"), ENTRIES.values(), ids=ENTRIES.keys())
def test_a_line(tmp_path: Path, line: str, entry: Entry) -> None:
    assert read(tmp_path, line + "\n", default="one").entries == {b"ann": entry}


def test_without_a_word_about_it_all_protocols_are_allowed() -> None:
    assert Entry(HASH, "one").protocols == ALL


def test_a_file(tmp_path: Path) -> None:
    users = read(
        tmp_path,
        f"# the staff\n\nann@example.org:{BCRYPT}\n   # bob left\n#bob:{BCRYPT}\n"
        f"Müller@Example.org:{SSHA}:backend=two\nc%61rl@sub.example.org:{SSHA}\njohn smith:{SSHA}",
        domains={"example.org": "one"},
        default="b.c",
    )

    assert {name.decode(): entry.backend for name, entry in users.entries.items()} == {
        "ann@example.org": "one",
        "müller@example.org": "two",
        "c%61rl@sub.example.org": "b.c",
        "john smith": "b.c",
    }


@pytest.mark.parametrize(
    ("text", "costliest"),
    [
        ("", ()),
        (f"a:{SSHA}", (SSHA,)),
        (f"a:{SSHA}\nb:{BCRYPT}\nc:{BCRYPT_6}", (SSHA, BCRYPT_6)),
        (f"a:{BCRYPT_6}\nb:{BCRYPT}", (BCRYPT_6,)),
        (f"a:{ARGON2ID}\nb:{ARGON2ID.replace('t=3', 't=4')}", (ARGON2ID.replace("t=3", "t=4"),)),
        (f"a:{ARGON2ID}\nb:{ARGON2ID.replace('m=65536', 'm=9999')}", (ARGON2ID,)),
    ],
)
def test_of_each_scheme_the_most_expensive_hash_is_known(
    tmp_path: Path, text: str, costliest: tuple[str, ...]
) -> None:
    assert read(tmp_path, text, default="one").costliest == tuple(map(recognise, costliest))


@pytest.mark.parametrize(
    ("user", "key"),
    [(b"Ann@Example.org", b"ann@example.org"), ("MÜLLER".encode(), "mÜller".encode()), (b"\xff", b"\xff")],
)
def test_the_case_of_letters(user: bytes, key: bytes) -> None:
    assert make_key(user) == key


WRONG: dict[str, tuple[str | bytes, str]] = {
    "no colon": ("ann", "1 : must be name:hash, but there is no colon"),
    "no name": (
        f":{BCRYPT}",
        "1 : the name must not be empty, have spaces around it, or hold control characters",
    ),
    "a space behind the name": (f"ann :{BCRYPT}", "1 : the name must not be empty"),
    "a terminal's orders": (f"ann\x1b[31m:{BCRYPT}", "1 : the name must not be empty"),
    "no hash": ("ann:", "1 ann: this is not a password hash that geomail can verify, or not a complete one"),
    "a password": ("ann:s3cret", "1 ann: this is not a password hash"),
    "a password in clear": ("ann:{PLAIN}s3cret", "1 ann: {PLAIN} is not a scheme that geomail can verify"),
    "half a hash": (f"ann:{BCRYPT[:-3]}", "1 ann: this is not a password hash"),
    "Dovecot's fields": (
        f"ann:{BCRYPT}:1000:1000::/home/s3cret::",
        "1 ann: geomail reads only the first two of Dovecot's fields, name and hash; remove the others",
    ),
    "Dovecot's fields, empty": (
        f"ann:{BCRYPT}::::::",
        "1 ann: geomail reads only the first two of Dovecot's fields",
    ),
    "an unknown word": (
        f"ann:{BCRYPT}:user=a nologin=y",
        "1 ann: word 2 after the hash is unknown; allowed: backend=NAME, user=NAME, password=TEXT, "
        "protocols=imap,pop3, disabled; write a space in a value as %20",
    ),
    "a misspelt word": (
        f"ann:{BCRYPT}:protocol=imap",
        "1 ann: word 1 after the hash is unknown; did you mean protocols?",
    ),
    "a password with a space": (
        f"ann:{BCRYPT}:password=the s3cret=",
        "1 ann: word 2 after the hash is unknown; allowed: backend=NAME",
    ),
    "a word without its value": (f"ann:{BCRYPT}:backend", "1 ann: word 1 after the hash is unknown"),
    "an empty value": (f"ann:{BCRYPT}:user=", "1 ann: user: must have a value"),
    "a value for disabled": (f"ann:{BCRYPT}:disabled=no", "1 ann: word 1 after the hash"),
    "a word twice": (f"ann:{BCRYPT}:user=a user=b", "1 ann: user is given twice; remove one"),
    "half an escape": (
        f"ann:{BCRYPT}:password=s3cret%2",
        "1 ann: password: two hexadecimal digits must follow %",
    ),
    "no escape": (
        f"ann:{BCRYPT}:password=s3%cret",
        "1 ann: password: two hexadecimal digits must follow %; write % itself as %25",
    ),
    "a second command": (f"ann:{BCRYPT}:user=a%0D%0As3cret", "1 ann: user: must not hold CR, LF or NUL"),
    "NUL": (f"ann:{BCRYPT}:password=s3cret%00", "1 ann: password: must not hold CR, LF or NUL"),
    "an unknown protocol": (
        f"ann:{BCRYPT}:protocols=imap,lmtp",
        "1 ann: protocols: must be one or more of imap, pop3, smtp",
    ),
    "no protocol": (
        f"ann:{BCRYPT}:protocols=",
        "1 ann: protocols: must be one or more of imap, pop3, smtp, with commas between",
    ),
    "an unknown backend": (
        f"ann:{BCRYPT}:backend=twoo",
        '1 ann: there is no backend "twoo"; did you mean two?',
    ),
    "no backend": (
        f"ann:{BCRYPT}",
        "1 ann: has no backend; add backend=NAME here, or a default to [auth.users]",
    ),
    "not UTF-8": (b"# caf\xc3\xa9\nann\xff:x", "2 : this line is not valid UTF-8; save the file as UTF-8"),
}


@pytest.mark.parametrize(("line", "problem"), WRONG.values(), ids=WRONG.keys())
def test_a_line_that_is_wrong(tmp_path: Path, line: str | bytes, problem: str) -> None:
    (only,) = list_problems(tmp_path, line)

    assert only.startswith(problem)
    assert "s3cret" not in only


def test_every_problem_is_told_with_its_line(tmp_path: Path) -> None:
    text = f"ann:{BCRYPT}\n\nbob:x\nANN:{BCRYPT}:backend=two\ncarl:{BCRYPT}:x\n"

    assert [line.partition(";")[0] for line in list_problems(tmp_path, text, default="one")] == [
        "3 bob: this is not a password hash that geomail can verify, or not a complete one",
        "4 ANN: is given twice",
        "5 carl: word 1 after the hash is unknown",
    ]
    assert "the first is in line 1" in list_problems(tmp_path, text, default="one")[1]


def test_a_file_of_another_kind_is_not_told_line_by_line(tmp_path: Path) -> None:
    problems = list_problems(tmp_path, "x\n" * 5000)

    assert len(problems) == MOST_PROBLEMS + 1
    assert (
        problems[-1]
        == f"{MOST_PROBLEMS + 1} : there are more problems from here on; correct those above first"
    )


def test_a_default_to_a_backend_that_is_gone(tmp_path: Path) -> None:
    assert list_problems(tmp_path, f"ann:{BCRYPT}", default="nowhere") == [
        '1 ann: there is no backend "nowhere"; add [backends.nowhere], or use one of these: one, two, b.c'
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="users: error: cannot be read: No such file or directory"):
        read_users(Users(file=str(tmp_path / "users")), BACKENDS)


def test_no_secret_in_a_repr(tmp_path: Path) -> None:
    users = read(tmp_path, f"ann:{BCRYPT}:password=s3cret", default="one")

    assert "s3cret" not in f"{users!r}"
    assert BCRYPT[10:] not in f"{users!r}"


def test_many_users(tmp_path: Path) -> None:
    users = read(tmp_path, "".join(f"user{i}@example.org:{BCRYPT}\n" for i in range(20_000)), default="one")

    assert len(users.entries) == 20_000
