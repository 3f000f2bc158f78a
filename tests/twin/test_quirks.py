"""The known oddities of nginx's mail proxy, and the tests that show geomail's; no row may be missing."""

from pathlib import Path

import pytest

from tests.twin.ways import GOLDEN

HERE = Path(__file__).parent
TITLES = {transcript.title for _, transcript in GOLDEN}
#: The quirk, and the transcripts (by title) and tests (``file::name``) that show it, or why none does.
ROWS: dict[int, tuple[str, ...]] = {
    1: ("EXTERNAL with a name although it is off", "EXTERNAL with a name, where it is switched off"),
    2: (
        "name, password, salt of another attempt",
        "EXTERNAL after another attempt",
        "EXTERNAL where a challenge is in the greeting",
    ),
    3: ("WAIT without a time", "WAIT without a time"),
    4: (
        "no Auth-Status, or an empty one",
        "no Auth-Status is OK, and headers of the configuration come last",
        "an empty Auth-Status",
    ),
    5: ("the status of HTTP", "../auth/test_http.py::test_the_http_status_does_not_matter"),
    6: ("line breaks in POP3 names", "line breaks in a POP3 name"),
    7: ("mail in clear despite starttls only", "mail without a login, before the TLS that is demanded"),
    8: (
        "a pipeline behind a refused MAIL is destroyed",
        "test_defects.py::test_commands_behind_one_that_needs_a_login",
    ),
    9: ("pipelines that end where the buffer does", "a command on the border of the buffer"),
    10: ("commands right behind a PROXY header or handshake", "a command behind a PROXY header"),
    11: (
        "IMAP: tags, quotes, empty literals",
        "the tag of a SASL exchange that fails",
        "a line that starts with a space",
        "a quote that is not closed",
        "a literal of no bytes",
    ),
    12: ("EHLO is remembered after HELO", "HELO after EHLO"),
    13: ("timeout limits the whole login (kept)", "test_times.py::test_commands_buy_no_time"),
    14: (
        "a resolver slower than timeout",
        "test_times.py::test_a_client_whose_name_is_looked_up_for_longer_than_a_login_may_take",
    ),
    15: ("only clients restart proxy_timeout", "test_times.py::test_a_backend_that_goes_on_talking"),
    16: ("bytes that were read are lost at the end", "a client that says its last word and listens"),
    17: ("AUTH after MAIL (kept)", "a login ends the transaction that came before it"),
    18: ("PROXY headers in pieces", "a PROXY header in two pieces"),
    19: ("PROXY headers of two families", "a PROXY header to the backend, from one family to the other"),
    20: (
        "a login after worker_shutdown_timeout",
        "test_defects.py::test_a_login_after_the_time_for_the_end",
    ),
    21: (
        "the same challenge again, and attempts without end",
        "test_defects.py::test_the_challenge_of_another_attempt",
        "test_defects.py::test_attempts_without_end",
    ),
    22: ("names that write lines of the log", "test_defects.py::test_a_name_that_writes_lines_of_its_own"),
    23: ("long answers of the auth service", "an answer of more than 1024 bytes from the auth service"),
    24: ("POP3 lines of 128 bytes", "a long POP3 name"),
    25: (
        "the auth service: one address, no TLS",
        "../auth/test_http.py::test_over_https",
        "a host name from the auth service",
    ),
    26: ("memory of failed attempts", "-: no client or server can see it; Python frees unused memory"),
    27: (
        "a dangling pointer after errors",
        "-: of another fork, and there are no pointers in Python",
    ),
    28: (
        "silence after STARTTLS gets twice the time",
        "test_times.py::test_a_client_that_says_starttls_and_nothing_more",
    ),
    29: ("NUL in names", "NUL in a name", "NUL in a POP3 name, as it is typed", "NUL in an IMAP name"),
    30: (
        "refused lines are logged with their secrets",
        "test_defects.py::test_a_password_in_a_line_that_is_refused",
    ),
}


def test_no_row_is_missing() -> None:
    assert list(ROWS) == list(range(1, 31))


@pytest.mark.parametrize("row", ROWS)
def test_it_is_shown(row: int) -> None:
    _, *places = ROWS[row]
    assert places
    for place in places:
        file, separator, name = place.partition("::")
        if separator:
            assert f"def {name}(" in (HERE / file).read_text()
        else:
            assert place in TITLES or place.startswith("-: ")
