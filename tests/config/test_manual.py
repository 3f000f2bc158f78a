"""The manual page of the configuration describes all options, with their forms and defaults."""

import re
from pathlib import Path

import pytest

from geomail.config.manual import make_manual
from geomail.config.schema import TABLES, list_keys

PAGE = Path(__file__).parents[2] / "man" / "man5" / "geomail.toml.5"


def test_the_page_is_what_the_models_make_it() -> None:
    assert PAGE.read_text() == make_manual(), "make man"


def items() -> dict[str, str]:
    """Return the text after each key."""
    parts = re.split(r"^\.It Cm (\w+) No = Ar ", make_manual(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_key_is_told_with_its_type_and_meaning() -> None:
    tables = {"log", "control", "metrics", "mail", "backends", "server", "passthrough"}
    keys = {key for table in TABLES.values() for key in list_keys(table)} - tables

    assert set(items()) == keys
    assert all(len(text.splitlines()) >= 2 for text in items().values())


@pytest.mark.parametrize(
    ("key", "form", "told"),
    [
        ("timeout", "time", "Default:\n.Ql \\(dq1m\\(dq ."),
        ("xclient", "on | off | auto", "Default:\n.Ql \\(dqon\\(dq ."),
        (
            "smtp_auth",
            "plain | login | cram-md5 | external | none ...",
            ".Ql [\\(dqplain\\(dq, \\(dqlogin\\(dq] .",
        ),
        ("max_errors", "number", "Default:\n.Ql 5 ."),
        ("ssl_session_tickets", "on | off", "Default:\n.Ql true ."),
        ("imap_client_buffer", "size", "Default: one memory page."),
        ("protocol", "smtp | imap | pop3", "Default: the protocol of the first well-known port in listen."),
        ("listen", "address ...", "The addresses that clients connect to"),
        ("ssl_crl", "file", "A file with revocation lists"),
    ],
)
def test_what_is_told_of_a_key(key: str, form: str, told: str) -> None:
    first, _, rest = items()[key].partition("\n")

    assert first == form
    assert told in rest
