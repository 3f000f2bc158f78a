"""nginx refuses every configuration that geomail refuses for nginx's sake, in these words."""

from pathlib import Path

import pytest

from tests.config.nginx.test_refused import AUTH, FILES, IN_SERVER, SERVER, WITH_TLS, names
from tests.servers.certificates import Certificates
from tests.servers.nginx import MODULE, complaints

#: Messages of older versions of nginx (for example 1.22), by the newer message.
OLDER = {
    'unknown directive "ssl"': 'the "ssl" directive is deprecated',
    '"ipv4" and "ipv6" cannot both be "off"': 'host not found in resolver "ipv4=off"',
    "invalid parameter: status_zone=x": 'host not found in resolver "status_zone=x"',
    'invalid port range in "127.0.0.1:143-99999"': 'invalid port in "127.0.0.1:143-99999"',
    'invalid parameter "tls"': 'the invalid "tls" parameter',
    'invalid parameter "default_server"': 'the invalid "default_server" parameter',
    'invalid parameter "reuseport"': 'the invalid "reuseport" parameter',
    'invalid parameter "ssl=on"': 'the invalid "ssl=on" parameter',
    'invalid parameter "ssl bind"': 'the invalid "ssl bind" parameter',
    'invalid ipv6only flags "ipv6only=ok"': 'invalid ipv6only flags "ok"',
    'invalid parameter "ipv6only=ON"': 'the invalid "ipv6only=ON" parameter',
    'invalid parameter "ipv6only=yes"': 'the invalid "ipv6only=yes" parameter',
    'invalid value "x" in "ssl_certificate_compression" directive': "unknown directive",
    "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client": (
        "no ssl_client_certificate for ssl_verify_client"
    ),
    'OSSL_STORE_open("store:s:k") failed': 'cannot load certificate key "store:s:k"',
}


def refusal(text: str, folder: Path, certificates: Certificates) -> str:
    """Return nginx's complaint, with short names for our files."""
    file = folder / "nginx.conf"
    load = f"load_module {MODULE}; " if MODULE.exists() else ""
    events = "" if "events {" in text else "events { } "
    file.write_text(f"{load}{events}{text}")
    said = complaints(file, folder).replace(f"{folder}/", "")
    for path, name in (
        (certificates.server.certificate, "C"),
        (certificates.server.key, "K"),
        (certificates.untrusted.key, "O"),
    ):
        said = said.replace(str(path), name)
    return said


def agrees(said: str, message: str) -> bool:
    """Tell whether nginx's message is the expected one; dots in that one match any text."""
    position = 0
    for part in message.split("…"):
        position = said.find(part, position)
        if position < 0:
            return message in OLDER and OLDER[message] in said
    return True


@pytest.mark.parametrize(("directives", "message"), [row[:2] for row in IN_SERVER], ids=names(IN_SERVER))
def test_in_a_server(directives: str, message: str, tmp_path: Path, certificates: Certificates) -> None:
    text = f"mail {{\n {AUTH}\n server {{\n {SERVER}\n {directives}\n }}\n}}\n"
    said = refusal(text, tmp_path, certificates)

    assert agrees(said, message), said


@pytest.mark.parametrize(("text", "message"), [row[:2] for row in FILES], ids=names(FILES))
def test_a_file(text: str, message: str, tmp_path: Path, certificates: Certificates) -> None:
    said = refusal(text, tmp_path, certificates)

    assert agrees(said, message), said


@pytest.mark.parametrize(("directives", "message"), [row[:2] for row in WITH_TLS], ids=names(WITH_TLS))
def test_with_tls(directives: str, message: str, tmp_path: Path, certificates: Certificates) -> None:
    server, other = certificates.server, certificates.untrusted
    (tmp_path / "L").write_text("x" * 5000)
    files = {"crt": server.certificate, "key": server.key, "other": other.key, "long": "L"}
    files["both"] = f"ssl_certificate {server.certificate}; ssl_certificate_key {server.key};"
    text = f"mail {{ {AUTH} server {{ {SERVER} starttls on; {directives.format(**files)} }} }}"
    said = refusal(text, tmp_path, certificates)

    assert agrees(said, message), said
