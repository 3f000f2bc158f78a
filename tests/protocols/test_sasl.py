"""Mechanisms, and base64 as lenient as nginx."""

import base64
import re

import pytest

from geomail.errors import TooManyErrors
from geomail.parties import Asserted, Credentials, Digest, Password
from geomail.protocols import sasl
from tests.protocols.support import talk

ALL = ("plain", "login", "cram-md5", "external", "none", "apop")


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


class Client:
    """Answers challenges in order, and keeps them."""

    def __init__(self, *responses: bytes) -> None:
        self.responses = list(responses)
        self.challenges: list[bytes] = []

    def __call__(self, challenge: bytes) -> bytes:
        self.challenges.append(challenge)
        return self.responses.pop(0)


def authenticate(
    *arguments: bytes, client: Client | None = None, enabled: tuple[str, ...] = ALL
) -> Credentials:
    exchange = sasl.Exchange(client or Client(), b"mx.test")
    return sasl.authenticate(arguments, sasl.select_mechanisms(enabled), exchange)


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(b"=", b"", id="RFC 4954's empty response"),
        pytest.param(b"QUI=", b"AB", id="padded"),
        pytest.param(b"QUI", b"AB", id="padding is optional"),
        pytest.param(b"QQ", b"A", id="both"),
        pytest.param(b"QQ=", b"A", id="too little padding"),
        pytest.param(b"QQ===", b"A", id="too much padding"),
        pytest.param(b"QUJD=!*\xff", b"ABC", id="whatever follows the first ="),
        pytest.param(b"QR", b"A", id="left-over bits"),
        pytest.param(b"+/+/", b"\xfb\xff\xbf", id="the last two digits"),
    ],
)
def test_base64_is_decoded_leniently(text: bytes, decoded: bytes) -> None:
    assert sasl.decode(text) == decoded


@pytest.mark.parametrize(
    "text", [b"Q", b"QUJDQ", b"*", b"QU-_", b"QU I", b"QU\tI", b"\xff\xff\xff\xff", b"Q=UI"]
)
def test_what_is_no_base64_is_malformed(text: bytes) -> None:
    with pytest.raises(sasl.BadExchange):
        sasl.decode(text)


@pytest.mark.parametrize(
    ("response", "user", "password"),
    [
        pytest.param(b"\0u\0p", b"u", b"p", id="usual"),
        pytest.param(b"authzid\0u\0p", b"u", b"p", id="authzid is ignored"),
        pytest.param(b"\0\0", b"", b"", id="both may be empty"),
        pytest.param(b"\0u\0", b"u", b"", id="empty password"),
        pytest.param(b"\0\xc3\xa9\0\xff ", b"\xc3\xa9", b"\xff ", id="any other bytes"),
    ],
)
def test_plain(response: bytes, user: bytes, password: bytes) -> None:
    client = Client(b64(response))
    asked = authenticate(b"PLAIN", client=client)
    at_once = authenticate(b"plain", b64(response))

    assert asked == at_once == Password(user, password)
    assert client.challenges == [b""]


@pytest.mark.parametrize("response", [b"", b"u", b"\0", b"\0u", b"u\0", b"u\0p"])
def test_plain_wants_both_nuls(response: bytes) -> None:
    with pytest.raises(sasl.BadExchange):
        authenticate(b"PLAIN", b64(response) or b"=")


def test_login_asks_for_user_and_password() -> None:
    client = Client(b64(b"u"), b64(b"p"))

    assert authenticate(b"LOGIN", client=client) == Password(b"u", b"p")
    assert client.challenges == [b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"]


def test_login_takes_the_user_as_initial_response() -> None:
    client = Client(b"=")

    assert authenticate(b"LOGIN", b64(b"u"), client=client) == Password(b"u", b"")
    assert client.challenges == [b"UGFzc3dvcmQ6"]


def test_a_bad_user_ends_login_before_the_password() -> None:
    client = Client(b"*", b64(b"p"))
    with pytest.raises(sasl.BadExchange):
        authenticate(b"LOGIN", client=client)

    assert len(client.challenges) == 1


def test_cram_md5() -> None:
    digest = b"0123456789abcdef0123456789abcdef"
    client = Client(b64(b"u " + digest))

    given = authenticate(b"CRAM-MD5", client=client)

    salt = base64.b64decode(client.challenges[0])
    assert given == Digest(b"u", digest, salt, "cram-md5")
    assert re.fullmatch(rb"<\d+\.\d+@mx\.test>", salt)


def test_cram_md5_never_asks_the_same_twice() -> None:
    client = Client(*[b64(b"u " + b"0" * 32)] * 8)

    for _ in range(8):
        authenticate(b"CRAM-MD5", client=client)

    assert len(set(client.challenges)) == 8


@pytest.mark.parametrize(
    "response", [b"", b"u", b"u ", b"u " + b"0" * 31, b"u " + b"0" * 33, b"u x " + b"0" * 32]
)
def test_cram_md5_wants_a_user_and_32_bytes(response: bytes) -> None:
    with pytest.raises(sasl.BadExchange):
        authenticate(b"CRAM-MD5", client=Client(b64(response)))


def test_external() -> None:
    client = Client(b64(b"u"))

    assert authenticate(b"EXTERNAL", client=client) == Asserted(b"u")
    assert authenticate(b"EXTERNAL", b64(b"u")) == Asserted(b"u")
    assert client.challenges == [b"VXNlcm5hbWU6"]


@pytest.mark.parametrize(
    "arguments",
    [
        (b"SCRAM-SHA-1",),
        (b"",),
        (b"PLAIN", b64(b"\0u\0p"), b"x"),
        (b"LOGIN", b64(b"u"), b64(b"p")),
        (b"CRAM-MD5", b64(b"u " + b"0" * 32)),
        (b"EXTERNAL", b64(b"u"), b"x"),
    ],
    ids=repr,
)
def test_wrong_mechanisms_and_argument_counts_are_malformed(arguments: tuple[bytes, ...]) -> None:
    client = Client(*[b64(b"u " + b"0" * 32)] * 2)
    with pytest.raises(sasl.BadExchange) as caught:
        authenticate(*arguments, client=client)

    assert not caught.value.counted
    assert client.challenges == []


@pytest.mark.parametrize(
    ("arguments", "enabled", "taken"),
    [
        pytest.param((b"PLAIN", b64(b"\0u\0p")), ("none",), True, id="PLAIN, whatever is enabled"),
        pytest.param((b"LOGIN",), ("external",), True, id="LOGIN, whatever is enabled"),
        pytest.param((b"CRAM-MD5",), ("plain", "login"), False, id="CRAM-MD5 only if enabled"),
        pytest.param((b"EXTERNAL",), ("plain", "login", "cram-md5"), False, id="EXTERNAL only if enabled"),
        pytest.param((b"EXTERNAL", b"dQ=="), ("plain",), False, id="EXTERNAL with a response likewise"),
    ],
)
def test_what_is_taken(arguments: tuple[bytes, ...], enabled: tuple[str, ...], taken: bool) -> None:
    client = Client(b64(b"u"), b64(b"p"))
    try:
        authenticate(*arguments, client=client, enabled=enabled)
    except sasl.BadExchange:
        assert not taken
    else:
        assert taken


@pytest.mark.parametrize("bad", [b"a\rb", b"a\nb", b"a\0b", b"\r\n", b"\0"], ids=repr)
@pytest.mark.parametrize("place", ["user", "password", "external", "digest"])
def test_line_breaks_and_nul_in_credentials_are_malformed(bad: bytes, place: str) -> None:
    responses = {
        "user": (b"LOGIN", b64(bad), b64(b"p")),
        "password": (b"LOGIN", b64(b"u"), b64(bad)),
        "external": (b"EXTERNAL", b64(bad)),
        "digest": (b"CRAM-MD5", b64(b"u " + bad.ljust(32, b"0"))),
    }[place]
    with pytest.raises(sasl.BadExchange):
        authenticate(responses[0], client=Client(*responses[1:]))


@pytest.mark.parametrize("response", [b"\0u\r\nDELE 1\0p", b"\0u\0p\r\nQUIT", b"\0u\0p\0q"])
def test_plain_cannot_carry_a_second_line_or_field(response: bytes) -> None:
    with pytest.raises(sasl.BadExchange):
        authenticate(b"PLAIN", b64(response))


@pytest.mark.parametrize(
    ("enabled", "names"),
    [
        ((), b""),
        (("none",), b""),
        (("external", "login", "plain", "cram-md5"), b"PLAIN LOGIN CRAM-MD5 EXTERNAL"),
        (("cram-md5", "apop"), b"CRAM-MD5"),
    ],
)
def test_mechanisms_are_offered_in_one_order(enabled: tuple[str, ...], names: bytes) -> None:
    assert b" ".join(sasl.list_names(enabled)) == names


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"AUTH", b"AUTH"),
        (b"AUTH PLAIN", b"AUTH PLAIN"),
        (b"auth plain AHUAcA==", b"auth plain ********"),
        (b"AUTH AHUAcA==", b"AUTH ********"),
        (b"AUTH AHUAcA== x", b"AUTH ******** ********"),
    ],
)
def test_shown(line: bytes, shown: bytes) -> None:
    assert sasl.mask_auth(line.split()) == shown


@pytest.mark.parametrize(
    ("protocol", "command", "most"),
    [("smtp", b"AUTH PLAIN", 11), ("pop3", b"AUTH PLAIN", 3), ("imap", b"a AUTHENTICATE PLAIN", 3)],
)
def test_a_response_has_no_more_words_than_a_command(protocol: str, command: bytes, most: int) -> None:
    words = [b"AHUAcA==", *most * [b"x"]]

    assert len(talk(protocol, command, b" ".join(words[:-1]), max_errors=1).logins) == 1
    refused = talk(protocol, command, b" ".join(words), max_errors=1)
    assert refused.logins == []
    assert isinstance(refused.ended, TooManyErrors)


@pytest.mark.parametrize(
    ("protocol", "command"),
    [("smtp", b"AUTH PLAIN"), ("pop3", b"AUTH PLAIN"), ("imap", b"a AUTHENTICATE PLAIN")],
)
def test_a_response_that_starts_with_a_space_is_an_empty_one(protocol: str, command: bytes) -> None:
    happened = talk(protocol, command, b" AHUAcA==")

    assert happened.logins == []
    assert happened.said[-1].lower().endswith(b"invalid command")
