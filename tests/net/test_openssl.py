"""The functions below make_server_context: access to libssl, and the fields of certificates."""

import _ssl
import ssl
from ctypes import byref, c_size_t, c_void_p

import pytest

from geomail.net.openssl import binding, contexts, peers
from geomail.net.openssl.buffers import give_back_buffers
from geomail.net.ticket_keys import TicketKey
from tests.net.pki import Pki
from tests.net.tls_support import listening

# -- the library ----------------------------------------------------------------------------------


def test_it_is_available() -> None:
    assert binding.is_available()


def test_pointers() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)

    pointer = binding.get_context_pointer(context)

    assert binding.libssl().SSL_get_SSL_CTX(binding.get_connection_pointer(connection)) == pointer
    assert binding.libssl().SSL_CTX_get_options(pointer) == context.options
    assert binding.get_context_pointer(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)) != pointer


def _room_of_buffers(connection: ssl.SSLObject) -> list[int]:
    """Return the sizes of the memory BIOs of a connection: BUF_MEM.max, behind a length and a pointer."""
    loaded, pointer = binding.libssl(), binding.get_connection_pointer(connection)
    rooms = []
    for bio in (loaded.SSL_get_rbio(pointer), loaded.SSL_get_wbio(pointer)):
        kept = c_void_p()
        loaded.BIO_ctrl(bio, 115, 0, byref(kept))  # BIO_C_GET_BUF_MEM_PTR
        assert kept.value is not None
        rooms.append(c_size_t.from_address(kept.value + 16).value)
    return rooms


def test_empty_buffers_are_given_back_and_full_ones_are_not() -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(b"x" * 3000)
    outgoing.write(b"y" * 3000)
    outgoing.read()
    assert min(_room_of_buffers(connection)) >= 3000

    give_back_buffers(connection)

    kept, given_back = _room_of_buffers(connection)
    assert (kept >= 3000, given_back) == (True, 0)
    assert incoming.read() == b"x" * 3000
    assert outgoing.read() == b""
    outgoing.write(b"z" * 5000)
    assert outgoing.read() == b"z" * 5000


@pytest.mark.parametrize("words", [[None, 1, 2], [1, 1, 1], [None, None, None]])
def test_objects_that_look_different_are_left_alone(
    words: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = binding.libssl()
    monkeypatch.setattr(binding, "_read_words", lambda _instance, count: words[:count])

    assert not binding._has_known_layout(loaded)


def test_objects_that_are_too_small_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = binding.libssl()
    monkeypatch.setattr(binding, "_count_words", lambda _instance: 2)

    assert not binding._has_known_layout(loaded)


def test_a_library_that_is_linked_in_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_ssl, "__file__")

    assert binding._load.__wrapped__() is None


@pytest.mark.parametrize("name", ["SSL_CTX_of_tomorrow"])
def test_a_library_of_another_version_is_out_of_reach(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(binding._FUNCTIONS, name, (None,))

    assert binding._load.__wrapped__() is None


def test_errors_are_returned_once() -> None:
    libssl = binding.libssl()
    assert not libssl.SSL_load_client_CA_file(b"/none")

    assert "No such file or directory" in binding.take_errors()
    assert binding.take_errors() == "no reason given"


def test_every_function_has_its_types() -> None:
    libssl = binding.libssl()

    for name, (result, *arguments) in binding._FUNCTIONS.items():
        function = getattr(libssl, name)
        assert (function.restype, list(function.argtypes)) == (result, arguments)


def test_openssl_does_not_ask_for_a_password_at_the_terminal(pki: Pki) -> None:
    ask = binding.libssl()["SSL_CTX_get_default_passwd_cb"]
    ask.restype, ask.argtypes = c_void_p, [c_void_p]

    assert ask(binding.get_context_pointer(listening(pki.ec))) is not None


# -- ALPN -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"", []),
        (b"\x04imap", [b"imap"]),
        (b"\x02h2\x04imap", [b"h2", b"imap"]),
        (b"\x00\x04imap", [b"", b"imap"]),
        (b"\xffimap", [b"imap"]),
    ],
)
def test_names_of_a_list(data: bytes, names: list[bytes]) -> None:
    assert list(contexts._split_names(data)) == names


# -- ticket keys ----------------------------------------------------------------------------------


def test_keys_lie_as_in_nginx() -> None:
    data = bytes(range(80))

    assert TicketKey.parse(data) == TicketKey(name=data[:16], hmac=data[16:48], aes=data[48:80])
    assert TicketKey.parse(data[:48]) == TicketKey(name=data[:16], aes=data[16:32], hmac=data[32:48])


@pytest.mark.parametrize("size", [0, 16, 47, 49, 79, 81, 96])
def test_keys_of_another_size(size: int) -> None:
    assert TicketKey.parse(bytes(size)) is None


def test_a_key_is_not_shown() -> None:
    assert repr(TicketKey.parse(b"n" * 16 + b"s" * 64)) == "TicketKey()"


# -- certificates ---------------------------------------------------------------------------------


def described(pki: Pki, subject: str, *options: str) -> peers.CertificateSummary:
    pem = pki.openssl("req", "-x509", "-utf8", "-key", pki.ec.key, "-subj", subject, *options)
    return peers.describe_certificate(ssl.PEM_cert_to_DER_cert(pem))


@pytest.mark.parametrize(
    ("subject", "name", "common_name"),
    [
        ("/C=US/O=Ac me/CN=cli ent.test", "CN=cli ent.test,O=Ac me,C=US", b"cli ent.test"),
        ("/CN=Jürgen", r"CN=J\C3\BCrgen", "Jürgen".encode()),
        ("/CN=a\nb\x7f\x01", r"CN=a\0Ab\7F\01", b"a\nb\x7f\x01"),
        ('/O=a,b"<>;/CN= c ', r"CN=\ c\ ,O=a\,b\"\<\>\;", b" c "),
        ("/CN=first/CN=second", "CN=second,CN=first", b"first"),
        ("/O=a+OU=b/C=DE", "C=DE,OU=b+O=a", b""),
        ("/emailAddress=a@b.test", "emailAddress=a@b.test", b""),
        ("/", "", b""),
    ],
)
def test_names(subject: str, name: str, common_name: bytes, pki: Pki) -> None:
    found = described(pki, subject)

    assert (found.subject, found.issuer, found.common_name) == (name, name, common_name)


@pytest.mark.parametrize(
    ("given", "serial"),
    [
        ("1", "01"),
        ("0xabcdef", "ABCDEF"),
        ("0x" + "ab" * 20, "AB" * 20),
        ("0x" + "7b" * 100, "7B" * 100),
        ("-5", "-05"),
        ("0", "00"),
    ],
)
def test_serials_stay_on_one_line(given: str, serial: str, pki: Pki) -> None:
    assert described(pki, "/CN=x", "-set_serial", given).serial == serial


@pytest.mark.parametrize(
    ("code", "text"), [(0, "ok"), (10, "certificate has expired"), (18, "self-signed certificate")]
)
def test_results_in_words(code: int, text: str) -> None:
    assert peers.explain_verify_result(code) == text
