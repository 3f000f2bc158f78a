import pytest

from geomail.config.listen import KeepAlive, Listen, parse_listen


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
        ("127.0.0.1:143-145", Listen("127.0.0.1", 143, last_port=145)),
        ("[::1]:143-145 ssl", Listen("::1", 143, ssl=True, last_port=145)),
        ("*:143-143", Listen("0.0.0.0", 143, last_port=143)),
        ("143-145", Listen("0.0.0.0", 143, last_port=145)),
        ("110 bind multipath", Listen("0.0.0.0", 110, bind=True, multipath=True)),
        ("110 backlog=4096", Listen("0.0.0.0", 110, backlog=4096)),
        ("110 rcvbuf=64k sndbuf=65536", Listen("0.0.0.0", 110, rcvbuf=65536, sndbuf=65536)),
        ("[::]:110 ipv6only=off", Listen("::", 110, ipv6only=False)),
        ("110 so_keepalive=off", Listen("0.0.0.0", 110, so_keepalive=False)),
        ("110 so_keepalive=on", Listen("0.0.0.0", 110)),
        ("110 so_keepalive=30m::10", Listen("0.0.0.0", 110, so_keepalive=KeepAlive(1800, None, 10))),
        ("110 so_keepalive=:5", Listen("0.0.0.0", 110, so_keepalive=KeepAlive(None, 5, None))),
        ({"address": "0.0.0.0:993", "ssl": True}, Listen("0.0.0.0", 993, ssl=True)),
        ({"address": "0.0.0.0:993 ssl", "ssl": "off"}, Listen("0.0.0.0", 993)),
        (
            {"address": 143, "backlog": 8, "rcvbuf": "8k", "so_keepalive": "off", "ipv6only": False},
            Listen("0.0.0.0", 143, backlog=8, rcvbuf=8192, so_keepalive=False, ipv6only=False),
        ),
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
        (
            "0.0.0.0:587 tls",
            '"tls" is no parameter of listen; allowed: ssl, proxy_protocol, bind, multipath, backlog=…',
        ),
        ("0.0.0.0:587 ssl=on", '"ssl=on" is no parameter of listen'),
        ("0.0.0.0:587 backlog", '"backlog" is no parameter of listen'),
        ("0.0.0.0:587 backlog=0", "backlog: 0"),
        ("0.0.0.0:587 backlog=-1", '"-1" is no number'),
        ("0.0.0.0:587 rcvbuf=8g", '"8g" is no size'),
        ("0.0.0.0:587 sndbuf=", '"" is no size'),
        ("0.0.0.0:587 ipv6only=yes", "allowed: true, false"),
        ("0.0.0.0:587 so_keepalive=yes", '"yes": so_keepalive is on, off, or idle:interval:count'),
        ("0.0.0.0:587 so_keepalive=::", "so_keepalive is on, off, or idle:interval:count"),
        ("0.0.0.0:587 so_keepalive=0:0:0", "so_keepalive is on, off, or idle:interval:count"),
        ("0.0.0.0:587 so_keepalive=1:2:3:4", "so_keepalive is on, off, or idle:interval:count"),
        ("0.0.0.0:587 so_keepalive=500ms:", "y M w d h m s"),
        ("0.0.0.0:587 so_keepalive=::x", '"x" is no number'),
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
        ("127.0.0.1:145-143", "145-143 is no range of ports"),
        ("143-65536", "143-65536 is no range of ports"),
        ("143-" + "9" * 5000, "is no range of ports"),
        ("[::1]143-145", "not an IPv6 address with port"),
        ("0.0.0.256:25", "is no IPv4 address"),
        (":25", "the host is missing"),
        ("a/b:25", "is no host name"),
        ("-a:25", "is no host name"),
        ("unix:", "the path is missing"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
    ],
)
def test_no_listen(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        parse_listen(value)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "words",
    [
        "0.0.0.0:110",
        "[::]:143-145 ssl proxy_protocol bind multipath ipv6only=off",
        "unix:/run/imap backlog=8",
        "0.0.0.0:25 backlog=8 rcvbuf=8192 sndbuf=65536 so_keepalive=off",
        "0.0.0.0:25 so_keepalive=1800::10",
    ],
)
def test_a_listen_is_written_as_it_is_read(words: str) -> None:
    assert parse_listen(words).words == words


def test_a_range_is_as_many_addresses_as_it_has_ports() -> None:
    assert list(parse_listen("[::1]:143-145 ssl").split_ports()) == [
        Listen("::1", port, ssl=True) for port in (143, 144, 145)
    ]
    assert list(parse_listen("unix:/x").split_ports()) == [Listen(path="/x")]
