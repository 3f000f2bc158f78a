import pytest

from geomail.config.address import (
    Address,
    AuthHttp,
    is_public,
    normalize_address,
    parse_address,
    parse_auth_http,
)


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
    with pytest.raises(ValueError, match='must be a number from 1 to 65535, not "0"'):
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
        ("", 'must be a URL such as "http://127.0.0.1:9000/auth", not ""'),
        (9000, "must be a URL such as"),
        ("ftp://auth", 'must start with http://, https:// or unix:, not "ftp"'),
        ("http://", "has no host"),
        ("http:///auth", "has no host"),
        ("http://auth:x/", 'must be a number from 1 to 65535, not "x"'),
        ("http://auth:0/", 'must be a number from 1 to 65535, not "0"'),
        ("http://a b/", "must not hold spaces"),
        ("http://auth/\r\nX: y", "must not hold spaces, control characters"),
        ("http://auth/ä", "non-ASCII"),
        ("https://unix:/run/auth", "https does not work on a Unix socket"),
        ("unix:", "has no path"),
    ],
)
def test_no_auth_http(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        parse_auth_http(value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://user:s3cret@auth/", "s3cret@auth/", "http://user:s3cret@unix:/run/x"]
)
def test_user_and_password_in_a_url_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="must not hold a user and password") as refused:
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
        ("Localhost", False),
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
    assert normalize_address(Address("0:0:0:0:0:0:0:1", 25)) == normalize_address(Address("::1", 25))
    assert normalize_address(Address("Localhost", 25)) == normalize_address(Address("localhost", 25))
    assert normalize_address(Address(path="/A")) != normalize_address(Address(path="/a"))
