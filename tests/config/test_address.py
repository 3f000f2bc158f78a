import pytest

from geomail.config.address import (
    Address,
    AuthHttp,
    Listen,
    canonical,
    is_public,
    parse_address,
    parse_auth_http,
    parse_listen,
)


@pytest.mark.parametrize(
    ("value", "listen"),
    [
        ("0.0.0.0:587", Listen("0.0.0.0", 587)),
        ("[::]:587", Listen("::", 587)),
        ("[2001:db8::1]:993 ssl", Listen("2001:db8::1", 993, ssl=True)),
        ("192.0.2.1:25 proxy_protocol ssl", Listen("192.0.2.1", 25, ssl=True, proxy_protocol=True)),
        ("*:110", Listen("0.0.0.0", 110)),
        ("110", Listen("0.0.0.0", 110)),
        (110, Listen("0.0.0.0", 110)),
        ("localhost:143", Listen("localhost", 143)),
        ("127.0.0.1:0", Listen("127.0.0.1", 0)),
        ("unix:/run/geomail/imap", Listen(path="/run/geomail/imap")),
        ("unix:run/imap proxy_protocol", Listen(path="/etc/geomail/run/imap", proxy_protocol=True)),
        ({"address": "0.0.0.0:993", "ssl": True}, Listen("0.0.0.0", 993, ssl=True)),
        ({"address": "0.0.0.0:993 ssl", "ssl": "off"}, Listen("0.0.0.0", 993)),
        ({"address": 143, "proxy_protocol": "on"}, Listen("0.0.0.0", 143, proxy_protocol=True)),
    ],
)
def test_listen(value: object, listen: Listen) -> None:
    assert parse_listen(value, "/etc/geomail") == listen


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "an address is wanted"),
        (True, "an address is wanted"),
        ({"ssl": True}, "an address is wanted"),
        ({"address": "0.0.0.0:25", "tls": True}, '"tls" is no key of listen'),
        ({"address": "0.0.0.0:25", "ssl": "yes"}, "allowed: true, false"),
        ("0.0.0.0:587 tls", '"tls" is no parameter of listen; allowed: ssl, proxy_protocol'),
        ("127.0.0.1", "the port is missing"),
        ("[::1]", "the port is missing"),
        ("::1:143", "goes in brackets"),
        ("[::1:143", "not an IPv6 address with port"),
        ("[::1]143", "not an IPv6 address with port"),
        ("[nonsense]:143", "not an IPv6 address with port"),
        ("127.0.0.1:smtp", '"smtp" is no port'),
        ("127.0.0.1:", '"" is no port'),
        ("127.0.0.1:65536", '"65536" is no port'),
        ("127.0.0.1:00001430000", "is no port"),
        ("127.0.0.1:" + "9" * 5000, "is no port"),
        ("127.0.0.1:-1", '"-1" is no port'),
        ("127.0.0.1:143-145", '"143-145" is no port'),
        ("0.0.0.256:25", "is no IPv4 address"),
        (":25", "the host is missing"),
        ("a/b:25", "is no host name"),
        ("-a:25", "is no host name"),
        ("unix:", "the path is missing"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
    ],
)
def test_no_listen(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"wanted|is|goes|not|at most") as refused:
        parse_listen(value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.1:143", Address("10.0.0.1", 143)),
        ("imap.example.org:143", Address("imap.example.org", 143)),
        ("imap_1:143", Address("imap_1", 143)),
        ("[2001:db8::1]:143", Address("2001:db8::1", 143)),
        ("unix:/run/x", Address(path="/run/x")),
    ],
)
def test_address_and_its_label(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert address.label == text


def test_only_a_listener_has_port_zero() -> None:
    with pytest.raises(ValueError, match='"0" is no port'):
        parse_address("127.0.0.1:0")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:9000/auth", AuthHttp("http", "127.0.0.1", 9000, "", "/auth")),
        ("127.0.0.1:9000/auth", AuthHttp("http", "127.0.0.1", 9000, "", "/auth")),
        ("auth.example.org", AuthHttp("http", "auth.example.org", 80, "", "/")),
        ("HTTPS://auth.example.org/a?b=c", AuthHttp("https", "auth.example.org", 443, "", "/a?b=c")),
        ("http://auth?x=1", AuthHttp("http", "auth", 80, "", "/?x=1")),
        ("http://[2001:db8::1]:9000/", AuthHttp("http", "2001:db8::1", 9000, "", "/")),
        ("http://[::1]/a", AuthHttp("http", "::1", 80, "", "/a")),
        ("unix:/run/auth", AuthHttp("http", "", 0, "/run/auth", "/")),
        ("http://unix:/run/auth:/a?b", AuthHttp("http", "", 0, "/run/auth", "/a?b")),
        ("unix:auth:/a", AuthHttp("http", "", 0, "/etc/geomail/auth", "/a")),
    ],
)
def test_auth_http(text: str, url: AuthHttp) -> None:
    assert parse_auth_http(text, "/etc/geomail") == url
    assert parse_auth_http(url.label) == url


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "a URL is wanted"),
        (9000, "a URL is wanted"),
        ("ftp://auth", '"ftp" is no scheme of auth_http'),
        ("http://", "the host is missing"),
        ("http:///auth", "the host is missing"),
        ("http://auth:x/", '"x" is no port'),
        ("http://auth:0/", '"0" is no port'),
        ("http://a b/", "no spaces"),
        ("http://auth/\r\nX: y", "no spaces, control characters"),
        ("http://auth/ä", "non-ASCII"),
        ("https://unix:/run/auth", "do not go together"),
        ("unix:", "the path is missing"),
    ],
)
def test_no_auth_http(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=r"is|no|not") as refused:
        parse_auth_http(value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://user:s3cret@auth/", "s3cret@auth/", "http://user:s3cret@unix:/run/x"]
)
def test_user_and_password_in_a_url_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="no place in the URL") as refused:
        parse_auth_http(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("0.0.0.0", True),
        ("::", True),
        ("8.8.8.8", True),
        ("2a00::1", True),
        ("::ffff:8.8.8.8", True),
        ("mail.example.org", True),
        ("localhost", False),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("192.168.1.1", False),
        ("169.254.1.1", False),
        ("::1", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("::ffff:127.0.0.1", False),
    ],
)
def test_public_hosts(host: str, public: bool) -> None:
    assert is_public(host) is public


def test_one_address_is_one_however_it_is_written() -> None:
    assert canonical(Address("0:0:0:0:0:0:0:1", 25)) == canonical(Address("::1", 25))
    assert canonical(Address("Localhost", 25)) == canonical(Address("localhost", 25))
    assert canonical(Address(path="/A")) != canonical(Address(path="/a"))
