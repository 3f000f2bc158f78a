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
        ("", "must be an address such as"),
        (True, "must be an address such as"),
        ({"ssl": True}, "must be an address such as"),
        ({"address": "0.0.0.0:25", "tls": True}, '"tls" is not a key of listen; allowed: address, ssl'),
        ({"address": "0.0.0.0:25", "ssl": "yes"}, 'ssl: must be true, false, "on" or "off", not "yes"'),
        (
            "0.0.0.0:587 tls",
            '"tls" is not a parameter of listen; allowed: ssl, proxy_protocol, bind, multipath, backlog=…',
        ),
        ("0.0.0.0:587 ssl=on", '"ssl=on" is not a parameter of listen'),
        ("0.0.0.0:587 backlog", '"backlog" is not a parameter of listen'),
        ("0.0.0.0:587 backlog=0", "backlog: must be more than 0, not 0"),
        ("0.0.0.0:587 backlog=-1", 'backlog: must be a whole number, 0 or more, not "-1"'),
        (
            "0.0.0.0:587 rcvbuf=8g",
            'rcvbuf: must be a number of bytes, or text such as "8k" or "1m", not "8g"',
        ),
        ("0.0.0.0:587 sndbuf=", 'sndbuf: must be a number of bytes, or text such as "8k" or "1m", not ""'),
        ("0.0.0.0:587 ipv6only=yes", 'ipv6only: must be true, false, "on" or "off", not "yes"'),
        (
            "0.0.0.0:587 so_keepalive=yes",
            'so_keepalive: must be on, off, or idle:interval:count such as "30m::10", not "yes"',
        ),
        ("0.0.0.0:587 so_keepalive=::", "so_keepalive: must be on, off, or idle:interval:count"),
        ("0.0.0.0:587 so_keepalive=0:0:0", "so_keepalive: must be on, off, or idle:interval:count"),
        ("0.0.0.0:587 so_keepalive=1:2:3:4", "so_keepalive: must be on, off, or idle:interval:count"),
        ("0.0.0.0:587 so_keepalive=500ms:", "y M w d h m s"),
        ("0.0.0.0:587 so_keepalive=::x", 'so_keepalive: must be a whole number, 0 or more, not "x"'),
        ("127.0.0.1", 'has no port; add one, such as "127.0.0.1:143"'),
        ("[::1]", 'has no port; add one, such as "[::1]:143"'),
        ("::1:143", "put the IPv6 address in brackets"),
        ("[::1:143", "is not an IPv6 address with a port"),
        ("[::1]143", "is not an IPv6 address with a port"),
        ("[nonsense]:143", "is not an IPv6 address with a port"),
        ("127.0.0.1:smtp", 'must be a number from 0 to 65535, not "smtp"'),
        ("127.0.0.1:", 'must be a number from 0 to 65535, not ""'),
        ("127.0.0.1:65536", 'must be a number from 0 to 65535, not "65536"'),
        ("127.0.0.1:00001430000", "the port must be a number"),
        ("127.0.0.1:" + "9" * 5000, "the port must be a number"),
        ("127.0.0.1:-1", 'must be a number from 0 to 65535, not "-1"'),
        ("127.0.0.1:145-143", "145-143 is not a range of ports"),
        ("143-65536", "143-65536 is not a range of ports"),
        ("143-" + "9" * 5000, "is not a range of ports"),
        ("[::1]143-145", "is not an IPv6 address with a port"),
        ("0.0.0.256:25", "is not an IPv4 address"),
        (":25", "has no host"),
        ("a/b:25", "is neither an IP address nor a host name"),
        ("-a:25", "is neither an IP address nor a host name"),
        ("unix:", "has no path"),
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
