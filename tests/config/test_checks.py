"""Contradictions, and what is legal but unwise: each row has the only problem that must be reported."""

from collections.abc import Callable

import pytest

from geomail.config.load import Inspection

Inspect = Callable[[str], Inspection]

# A configuration without problems. Rows add to one of its tables, or replace a line.
SOUND = """\
[mail]
auth_http = "http://127.0.0.1:9000"
ssl_certificate = "mail.crt"
ssl_certificate_key = "mail.key"
[[mail.server]]
listen = "127.0.0.1:143"
[backends.b]
address = "127.0.0.1:1143"
"""
PASSTHROUGH = SOUND.replace('auth_http = "http://127.0.0.1:9000"', 'auth = "passthrough"')
ROUTED = PASSTHROUGH + '[auth.passthrough]\ndefault = "b"\n'
USERS = PASSTHROUGH.replace("passthrough", "users") + '[auth.users]\nfile = "users"\ndefault = "b"\n'


def list_problems(found: Inspection) -> list[str]:
    """Return ``severity key: text`` of each problem."""
    return [f"{problem.severity} {problem.key}: {problem.text}" for problem in found.problems]


@pytest.mark.parametrize("text", [SOUND, ROUTED, USERS])
def test_what_is_sound_is_left_alone(inspect_text: Inspect, text: str) -> None:
    found = inspect_text(text)

    assert list_problems(found) == []
    assert found.config is not None


def replace_server(*words: str) -> str:
    """Return SOUND with these lines in place of the server's."""
    return SOUND.replace('listen = "127.0.0.1:143"', "\n".join(words))


CONTRADICTIONS = {
    "a backend without an address": (
        SOUND.replace('address = "127.0.0.1:1143"', 'tls = "off"'),
        'backends.b: the backend has no address; add address = "host:port", or smtp, imap, pop3',
    ),
    "no server": ("[mail]", ": no [[mail.server]] is defined, so geomail has nothing to serve; add one"),
    "no listen": (
        replace_server('protocol = "imap"'),
        'mail.server[0]: this server has no listen; add one, such as listen = "0.0.0.0:587"',
    ),
    "empty listen": (
        replace_server('protocol = "imap"', "listen = []"),
        'mail.server[0].listen: this server has no listen; add one, such as listen = "0.0.0.0:587"',
    ),
    "no protocol": (
        replace_server('listen = "127.0.0.1:1430"'),
        "mail.server[0]: geomail cannot tell the protocol from the ports of listen; "
        'add protocol = "smtp", "imap" or "pop3"',
    ),
    "no certificate for ssl": (
        replace_server('listen = "127.0.0.1:993 ssl"', "ssl_certificate = []", "ssl_certificate_key = []"),
        "mail.server[0].ssl_certificate: no ssl_certificate is defined, "
        'but listen = "127.0.0.1:993 ssl" needs one; add it',
    ),
    "no certificate for starttls": (
        SOUND.replace('ssl_certificate = "mail.crt"\nssl_certificate_key = "mail.key"', 'starttls = "only"'),
        'mail.server[0]: no ssl_certificate is defined, but starttls = "only" needs one; add it',
    ),
    "no key": (
        SOUND.replace('ssl_certificate_key = "mail.key"', "starttls = true"),
        "mail.server[0]: no ssl_certificate_key is defined for the certificate",
    ),
    "fewer keys than certificates": (
        replace_server('listen = "127.0.0.1:143"', "starttls = true", 'ssl_certificate = ["/a", "/b"]'),
        'mail.ssl_certificate_key: no ssl_certificate_key is defined for the certificate "/b"; add it',
    ),
    "more keys than certificates": (
        replace_server('listen = "127.0.0.1:143"', "starttls = true", 'ssl_certificate_key = ["/a", "/b"]'),
        "mail.server[0].ssl_certificate_key: there are more keys than certificates; "
        "each key must belong to one certificate, "
        "in order",
    ),
    "a range over an address": (
        replace_server('protocol = "imap"', 'listen = ["127.0.0.1:142-144", "127.0.0.1:143"]'),
        "mail.server[0].listen[1]: 127.0.0.1:143 is given twice; the first is in line",
    ),
    "an IPv6 wildcard for IPv4 too": (
        replace_server('listen = ["0.0.0.0:143", "[::]:143 ipv6only=off"]', 'starttls = "only"'),
        "mail.server[0].listen[0]: 0.0.0.0:143 is taken: [::]:143 in line",
    ),
    "certificates of clients and no CA": (
        replace_server('listen = "127.0.0.1:143"', "starttls = true", 'ssl_verify_client = "optional"'),
        'mail.server[0].ssl_verify_client: ssl_verify_client = "optional" needs ssl_client_certificate or',
    ),
    "only SSLv3": (
        SOUND.replace("[mail]", '[mail]\nssl_protocols = "SSLv3"'),
        "mail.ssl_protocols: OpenSSL no longer has SSLv3; add TLSv1.2",
    ),
    "nobody asked": (
        SOUND.replace('auth_http = "http://127.0.0.1:9000"', ""),
        'mail.server[0]: no auth source is configured for logins; add auth_http = "http://…", or auth =',
    ),
    "http without URL": (
        SOUND.replace('auth_http = "http://127.0.0.1:9000"', 'auth = "http"'),
        'mail.auth: auth = "http" needs the URL of the auth service; add auth_http = "http://…"',
    ),
    "two sources in mail": (
        ROUTED.replace("[mail]", '[mail]\nauth_http = "127.0.0.1:9000"'),
        'mail.auth: auth = "passthrough" and auth_http contradict each other, as only one can decide; '
        "remove one",
    ),
    "two sources in a server": (
        replace_server('listen = "127.0.0.1:143"', 'auth = "passthrough"', 'auth_http = "127.0.0.1:9000"')
        + '[auth.passthrough]\ndefault = "b"\n',
        'mail.server[0].auth: auth = "passthrough" and auth_http contradict each other',
    ),
    "passthrough without a route": (
        PASSTHROUGH,
        'mail.auth: auth = "passthrough" needs a route; add default, domains or users to [auth.passthrough]',
    ),
    "default to nowhere": (
        PASSTHROUGH + '[auth.passthrough]\ndefault = "dovecot"\n',
        'auth.passthrough.default: there is no backend "dovecot"; add [backends.dovecot], '
        "or use one of these: b",
    ),
    "domain to nowhere": (
        (PASSTHROUGH + '[auth.passthrough.domains]\n"example.org" = "dovcot"\n').replace(
            "[backends.b]", "[backends.dovecot]"
        ),
        'auth.passthrough.domains."example.org": there is no backend "dovcot"; did you mean dovecot?',
    ),
    "user to nowhere": (
        PASSTHROUGH.partition("[backends.b]")[0] + '[auth.passthrough.users]\njoe = "b"\n',
        'auth.passthrough.users.joe: there is no backend "b"; add [backends.b]',
    ),
    "users and an auth service": (
        USERS.replace("[mail]", '[mail]\nauth_http = "127.0.0.1:9000"'),
        'mail.auth: auth = "users" and auth_http contradict each other, as only one can decide; remove one',
    ),
    "users without a file": (
        USERS.replace('file = "users"\n', ""),
        'mail.auth: auth = "users" needs a users file; add file = "…" to [auth.users]',
    ),
    "users' default to nowhere": (
        USERS.replace('default = "b"', 'default = "dovecot"'),
        'auth.users.default: there is no backend "dovecot"; add [backends.dovecot], or use one of these: b',
    ),
    "users' domain to nowhere": (
        USERS + '[auth.users.domains]\n"example.org" = "c"\n',
        'auth.users.domains."example.org": there is no backend "c"; add [backends.c], or use one of these: b',
    ),
    "users who do not log in": (
        USERS.replace("listen", 'protocol = "smtp"\nsmtp_auth = "plain none"\nlisten'),
        'mail.server[0].smtp_auth: none: a client without a login is not a user of auth = "users"; remove it',
    ),
    "client key without certificate": (
        SOUND + 'tls = "implicit"\ntls_certificate_key = "k"\n',
        "backends.b.tls_certificate_key: needs tls_certificate; add it",
    ),
    "no name to verify": (
        SOUND.replace('"127.0.0.1:1143"', '"unix:/run/x"\ntls = "implicit"'),
        "backends.b: a Unix socket has no host name to verify a certificate by; add tls_name",
    ),
}


@pytest.mark.parametrize(("text", "expected"), CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_contradictions(inspect_text: Inspect, text: str, expected: str) -> None:
    found = inspect_text(text)

    (only,) = list_problems(found)
    assert only.startswith(f"error {expected}")
    assert found.config is None


@pytest.mark.parametrize(("text", "use"), [(ROUTED, "send to a backend"), (USERS, "verify by a hash")])
@pytest.mark.parametrize(
    ("protocol", "methods", "stuck"),
    [
        ("smtp", "plain cram-md5 external", "cram-md5, external"),
        ("imap", "cram-md5", "cram-md5"),
        ("pop3", "plain apop", "apop"),
    ],
)
def test_methods_without_a_password(
    inspect_text: Inspect, protocol: str, methods: str, stuck: str, text: str, use: str
) -> None:
    found = inspect_text(
        text.replace("listen", f'protocol = "{protocol}"\n{protocol}_auth = "{methods}"\nlisten')
    )

    (only,) = list_problems(found)
    needs = f"{stuck}: needs an auth service, as it gives no password that geomail could {use}; remove it"
    assert only.startswith(f"error mail.server[0].{protocol}_auth: {needs}")


def test_methods_of_another_protocol_do_not_matter(inspect_text: Inspect) -> None:
    found = inspect_text(ROUTED.replace("[mail]", '[mail]\npop3_auth = "apop"\nsmtp_auth = "cram-md5"'))

    assert list_problems(found) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("127.0.0.1:143", "127.0.0.1:143 proxy_protocol"),
        ("*:143", "0.0.0.0:143"),
        ("[::1]:143", "[0:0:0:0:0:0:0:1]:143"),
        ("localhost:143", "LOCALHOST:143"),
        ("unix:/run/imap", "unix:/run/imap"),
    ],
)
def test_an_address_is_given_once(inspect_text: Inspect, first: str, second: str) -> None:
    found = inspect_text(
        f"""\
[mail]
auth_http = "http://127.0.0.1:9000"
starttls = "only"
ssl_certificate = "c"
ssl_certificate_key = "k"
[[mail.server]]
protocol = "imap"
listen = "{first}"
[[mail.server]]
protocol = "imap"
listen = [
  "127.0.0.1:1143",
  "{second}",
]
"""
    )

    (problem,) = found.problems
    assert (problem.line, problem.key, problem.severity) == (13, "mail.server[1].listen[1]", "error")
    assert problem.text.endswith("is given twice; the first is in line 8; remove one")


@pytest.mark.parametrize("second", ["127.0.0.2:143", "127.0.0.1:144", "[::1]:143", "[::]:143 ssl"])
def test_addresses_that_differ(inspect_text: Inspect, second: str) -> None:
    assert list_problems(inspect_text(replace_server(f'listen = ["127.0.0.1:143", "{second}"]'))) == []


@pytest.mark.parametrize(
    ("wildcard", "address"),
    [("*:143", "127.0.0.1:143"), ("[::]:143", "[::1]:143"), ("142-144", "127.0.0.1:143")],
)
@pytest.mark.parametrize("order", [1, -1])
def test_a_wildcard_and_an_address_may_share_a_port(
    inspect_text: Inspect, wildcard: str, address: str, order: int
) -> None:
    pair = ", ".join([f'"{wildcard}"', f'"{address}"'][::order])
    found = inspect_text(replace_server('protocol = "imap"', f"listen = [{pair}]", 'starttls = "only"'))

    assert list_problems(found) == []


BOTH = "[::]:143 ipv6only=off"


@pytest.mark.parametrize(
    ("listens", "taken"),
    [
        (["0.0.0.0:143", BOTH], ["0.0.0.0:143"]),
        ([BOTH, "127.0.0.1:143"], ["127.0.0.1:143"]),
        (["127.0.0.1:143", BOTH, "0.0.0.0:143"], ["0.0.0.0:143"]),
        ([BOTH, "[::1]:143", "127.0.0.1:144"], []),
    ],
)
def test_a_wildcard_may_be_on_all_ipv4_addresses_too(
    inspect_text: Inspect, listens: list[str], taken: list[str]
) -> None:
    found = inspect_text(replace_server('protocol = "imap"', f"listen = {listens}", 'starttls = "only"'))

    assert [line.partition(": ")[2] for line in list_problems(found)] == [
        f"{label} is taken: [::]:143 in line 7 also listens on all IPv4 addresses; "
        "remove one, or write ipv6only=on there"
        for label in taken
    ]


def test_where_nobody_logs_in_there_are_no_passwords_to_protect(inspect_text: Inspect) -> None:
    assert list_problems(inspect_text(replace_server('listen = "0.0.0.0:25"', 'smtp_auth = "none"'))) == []


UNWISE = {
    "passwords in clear": (
        replace_server('listen = ["0.0.0.0:143", "127.0.0.1:1143", "[::]:143"]'),
        "mail.server[0].listen: clients may log in without TLS on 0.0.0.0:143, [::]:143, "
        "with passwords in clear text",
    ),
    "TLS that nobody has to use": (
        replace_server('listen = "0.0.0.0:143"', "starttls = true"),
        "mail.server[0].starttls: clients may log in without TLS on 0.0.0.0:143, with passwords in "
        "clear text",
    ),
    "implicit TLS forgotten": (
        replace_server('listen = "0.0.0.0:993"'),
        "mail.server[0].listen: 0.0.0.0:993 has no TLS, but clients expect it there",
    ),
    "implicit TLS forgotten in private": (
        replace_server('listen = "127.0.0.1:465"'),
        "mail.server[0].listen: 127.0.0.1:465 has no TLS",
    ),
    "a port that changes": (
        replace_server('listen = "127.0.0.1:0"', 'protocol = "imap"'),
        "mail.server[0].listen: 127.0.0.1:0: the system chooses another port at each start; write a port",
    ),
    "senders look like geomail": (
        replace_server('listen = "0.0.0.0:25"', 'smtp_auth = "none"', "starttls = true", "xclient = false"),
        "mail.server[0].smtp_auth: none without xclient or proxy_protocol",
    ),
    "senders that come by a proxy on this machine look like geomail": (
        replace_server(
            'listen = "127.0.0.1:25 proxy_protocol"', 'smtp_auth = "plain none"', "xclient = false"
        ),
        "mail.server[0].smtp_auth: none without xclient or proxy_protocol",
    ),
    "old TLS": (
        SOUND.replace("[mail]", '[mail]\nssl_protocols = "TLSv1 TLSv1.1 TLSv1.2"'),
        "mail.ssl_protocols: attackers can break TLSv1 and TLSv1.1; use TLSv1.2 or newer (also, the default",
    ),
    "first error closes": (
        SOUND.replace("[mail]", "[mail]\nmax_errors = 0"),
        "mail.max_errors: 0 does not mean no limit",
    ),
    "auth service in the open": (
        SOUND.replace("//127.0.0.1", "//8.8.8.8"),
        "mail.auth_http: passwords go to 8.8.8.8 in clear text",
    ),
    "CA of a plain service": (
        SOUND.replace("[mail]", '[mail]\nauth_http_ca = "ca.pem"'),
        "mail.auth_http_ca: has no effect, as auth_http is not an https URL; remove it",
    ),
    "settings of an address that a wildcard takes": (
        replace_server('listen = ["*:143", "127.0.0.1:143 backlog=8 bind rcvbuf=8k"]', 'starttls = "only"'),
        "mail.server[0].listen[1]: backlog, rcvbuf of 127.0.0.1:143: no effect, as its clients come in by",
    ),
    "SSLv3 too": (
        SOUND.replace("[mail]", '[mail]\nssl_protocols = "SSLv3 TLSv1.2"'),
        "mail.ssl_protocols: SSLv3: no effect, as OpenSSL no longer has it; remove it",
    ),
    "compressed certificates": (
        SOUND.replace("[mail]", "[mail]\nssl_certificate_compression = true"),
        "mail.ssl_certificate_compression: has no effect; remove it",
    ),
    "proxy": (SOUND.replace("[mail]", "[mail]\nproxy = true"), "mail.proxy: has no effect; remove it"),
    "a network with an address in it": (
        SOUND.replace("[mail]", '[mail]\nset_real_ip_from = ["unix:", "10.0.0.1/8"]'),
        "mail.set_real_ip_from: low address bits of 10.0.0.1/8 are meaningless; write 10.0.0.0/8",
    ),
    "word given twice": (
        SOUND.replace("[mail]", '[mail]\nimap_auth = "plain PLAIN"'),
        'mail.imap_auth: "plain" is given twice; remove one',
    ),
    "capability given twice": (
        replace_server('listen = "127.0.0.1:143"', 'imap_capabilities = ["IDLE", "UIDPLUS", "idle"]'),
        'mail.server[0].imap_capabilities: "idle" is given twice; remove one',
    ),
    "users who are not asked for": (
        SOUND + '[auth.users]\nfile = "users"\n',
        'auth.users: has no effect, as no server has auth = "users"',
    ),
    "routes that nobody takes": (
        SOUND + '[auth.passthrough]\ndefault = "b"\n',
        'auth.passthrough: has no effect, as no server has auth = "passthrough"',
    ),
    "no route by recipient": (
        PASSTHROUGH.replace('"127.0.0.1:143"', '"127.0.0.1:25"\nsmtp_auth = "none"')
        + '[auth.passthrough.users]\njoe = "b"\n',
        "mail.server[0].smtp_auth: none needs a route by the recipient's domain",
    ),
    "XCLIENT for the client of a PROXY header": (
        replace_server('listen = "10.0.0.1:25"', "xclient = true", 'proxy_protocol = "v2"'),
        'mail.server[0].xclient: xclient = "on" with proxy_protocol = "v2": a backend that takes the '
        "client from the PROXY header may refuse XCLIENT, and so end each session (Postfix does, unless "
        'smtpd_authorized_xclient_hosts holds all clients); write xclient = "auto"',
    ),
    "XCLIENT by default, and a PROXY header": (
        replace_server('listen = "10.0.0.1:25"', "proxy_protocol = true"),
        'mail.server[0].proxy_protocol: xclient = "on" with proxy_protocol = "on": a backend',
    ),
    **{
        f"{directive} of nobody": (
            replace_server('listen = "10.0.0.1:143"', "starttls = true", f'{directive} = "file"'),
            f"mail.server[0].{directive}: has no effect: ssl_verify_client is off",
        )
        for directive in ("ssl_client_certificate", "ssl_trusted_certificate", "ssl_crl")
    },
    "unverified backend": (
        SOUND + 'tls = "starttls"\ntls_verify = false\n',
        "backends.b.tls_verify: the backend's certificate is not verified",
    ),
    "TLS keys without TLS": (SOUND + 'tls_name = "x"\n', "backends.b.tls_name: has no effect, as tls is off"),
    "port of a TLS backend": (
        SOUND.replace("127.0.0.1:1143", "127.0.0.1:993"),
        "backends.b.address: port 993 needs TLS from the start, but tls is",
    ),
    "backend in the open": (
        SOUND.replace("127.0.0.1:1143", "8.8.8.8:143"),
        "backends.b.address: passwords go to 8.8.8.8 in clear text",
    ),
}


@pytest.mark.parametrize(
    ("broken", "warnings"), [('smtp_auth = "non"', 0), ('imap_auth = "non"', 1), ('smtp_auth = "plain"', 1)]
)
def test_checks_of_login_methods_need_those_of_the_own_protocol_alone(
    inspect_text: Inspect, broken: str, warnings: int
) -> None:
    found = list_problems(inspect_text(replace_server('listen = "0.0.0.0:25"', broken)))

    assert sum("clients may log in without TLS" in text for text in found) == warnings


@pytest.mark.parametrize(("text", "expected"), UNWISE.values(), ids=UNWISE.keys())
def test_what_is_unwise(inspect_text: Inspect, text: str, expected: str) -> None:
    found = inspect_text(text)

    (only,) = list_problems(found)
    assert only.startswith(f"warning {expected}")
    assert found.config is not None


@pytest.mark.parametrize(
    "lines",
    [
        ('listen = "0.0.0.0:143"', 'starttls = "only"'),
        ('listen = "0.0.0.0:993 ssl"',),
        ('listen = ["0.0.0.0:993 ssl", "0.0.0.0:143"]', 'starttls = "only"'),
        ('listen = "10.0.0.1:143"',),
        ('listen = "10.0.0.1:143"', "starttls = true", 'ssl_verify_client = "optional_no_ca"'),
        ('listen = "0.0.0.0:143 ipv6only=off"', 'starttls = "only"'),
        ('ssl_session_cache = ["shared:one:1024k", "builtin"]', 'listen = "10.0.0.1:143"'),
        ('listen = "10.0.0.1:143"', 'ssl_verify_client = "on"'),
        ('listen = "10.0.0.1:143"', 'ssl_crl = "file"'),
        ('listen = "10.0.0.1:143"', "xclient = true", "proxy_protocol = true"),
        ('listen = "10.0.0.1:25"', "xclient = false", "proxy_protocol = true"),
        ('listen = "10.0.0.1:25"', 'xclient = "auto"', 'proxy_protocol = "v2"'),
        ('listen = "10.0.0.1:143"', 'set_real_ip_from = ["10.0.0.0/8", "2001:DB8::/32", "::1", "unix:"]'),
        ('listen = "unix:/run/imap"', 'protocol = "imap"'),
        ('listen = "0.0.0.0:25"', 'smtp_auth = "none"', "starttls = true"),
        ('listen = "0.0.0.0:25"', 'smtp_auth = "none"', "xclient = false", 'proxy_protocol = "v2"'),
        ('listen = "0.0.0.0:25"', 'smtp_auth = "none"', 'xclient = "auto"'),
    ],
)
def test_what_is_wise_enough(inspect_text: Inspect, lines: tuple[str, ...]) -> None:
    assert list_problems(inspect_text(replace_server(*lines))) == []


@pytest.mark.parametrize(
    ("text", "only"),
    [
        (SOUND.replace("[mail]", '[mail]\nstarttls = "yes"'), "mail.starttls"),
        (replace_server('listen = "0.0.0.0:x"'), "mail.server[0].listen[0]"),
        (SOUND.replace("ssl_certificate =", "starttls = true\nssl_certificat ="), "mail.ssl_certificat"),
        (SOUND.replace("auth_http =", "auth_htp ="), "mail.auth_htp"),
        (SOUND.replace("9000", "x"), "mail.auth_http"),
        (ROUTED.replace("default", "defualt"), "auth.passthrough.defualt"),
        (ROUTED.replace("address", "adress"), "backends.b.adress"),
        (ROUTED.replace("[auth.passthrough]", "[auth.pasthrough]"), "auth.pasthrough"),
        (ROUTED.replace("127.0.0.1:1143", "127.0.0.1:x"), "backends.b.address"),
        (ROUTED.replace('auth = "passthrough"', 'auth = "passthru"'), "mail.auth"),
    ],
)
def test_one_mistake_is_told_once(inspect_text: Inspect, text: str, only: str) -> None:
    found = inspect_text(text)

    assert [(problem.key, problem.severity) for problem in found.problems] == [(only, "error")]


def test_what_two_servers_inherit_is_told_once(inspect_text: Inspect) -> None:
    found = inspect_text(
        SOUND.replace("[mail]", "[mail]\nmax_errors = 0") + '[[mail.server]]\nlisten = "127.0.0.1:110"\n'
    )

    assert len(found.problems) == 1


@pytest.mark.parametrize(
    ("verify", "said_of"), [("on", []), ("off", ["warning mail.ssl_client_certificate: has no effect"])]
)
def test_authorities_that_one_of_two_servers_uses(
    inspect_text: Inspect, verify: str, said_of: list[str]
) -> None:
    text = SOUND.replace("[mail]", '[mail]\nssl_client_certificate = "ca"\nstarttls = "on"')
    found = inspect_text(f'{text}[[mail.server]]\nlisten = "127.0.0.1:110"\nssl_verify_client = "{verify}"\n')

    assert [line.partition(":")[0] for line in list_problems(found)] == [
        line.partition(":")[0] for line in said_of
    ]


def test_a_cache_that_two_servers_share(inspect_text: Inspect) -> None:
    text = SOUND.replace("[mail]", '[mail]\nssl_session_cache = "shared:a:1m builtin"')
    for size, told in (("1024k", 0), ("1025k", 1)):
        found = inspect_text(text.replace("listen", f'ssl_session_cache = ["shared:a:{size}"]\nlisten'))

        assert len(found.problems) == told, list_problems(found)


def test_users_who_are_led_where_their_protocol_is_not_spoken(inspect_text: Inspect) -> None:
    found = inspect_text(ROUTED.replace("address =", "smtp ="))

    assert list_problems(found) == [
        "warning auth.passthrough.default: [backends.b] has no address for imap, so such logins are refused; "
        "add one"
    ]
