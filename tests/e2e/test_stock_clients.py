"""Programs that people use, through geomail: swaks sends, curl sends and reads."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.proxy import SECURITIES, SOURCES, TIMEOUT, Protocol, Proxy, Security, Source
from tests.servers.accounts import ALICE, BOB
from tests.servers.mail import delivered, message
from tests.servers.support import LOOPBACK, program

pytestmark = [
    pytest.mark.parametrize("source", SOURCES),
    pytest.mark.parametrize("security", SECURITIES),
]

SWAKS_TLS: dict[Security, list[str]] = {"plain": [], "starttls": ["--tls"], "implicit": ["--tls-on-connect"]}
TEXT = message(BOB)


def run(*command: str | Path) -> bytes:
    """What a client prints, if it is content."""
    done = subprocess.run(command, capture_output=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def curl(
    proxy: Proxy, source: Source, protocol: Protocol, security: Security, path: str, *options: str | Path
) -> bytes:
    """Run curl as Bob, who has a password that a shell, a URL and IMAP's quoting would like to spoil."""
    scheme = f"{protocol}s" if security == "implicit" else protocol
    tls = ["--ssl-reqd"] if security == "starttls" else []
    return run(
        *(program("curl"), "--silent", "--show-error", "--max-time", str(TIMEOUT), *tls),
        *("--cacert", proxy.servers.certificates.ca.certificate, "--user", f"{BOB.address}:{BOB.password}"),
        *options,
        f"{scheme}://{LOOPBACK}:{proxy.port(source, protocol, security)}/{path}",
    )


def wait_for_delivery(proxy: Proxy, before: int) -> None:
    proxy.servers.postfix.log.wait_for(rf"to=<{BOB.address}>.*status=sent", after=before)


def test_curl_sends_and_reads(proxy: Proxy, source: Source, security: Security, tmp_path: Path) -> None:
    (tmp_path / "message").write_bytes(TEXT)
    before = proxy.servers.postfix.log.end
    sent = ("--mail-from", ALICE.address, "--mail-rcpt", BOB.address, "--upload-file", tmp_path / "message")
    curl(proxy, source, "smtp", security, "client.test", *sent)
    wait_for_delivery(proxy, before)

    assert delivered(curl(proxy, source, "imap", security, "INBOX;MAILINDEX=1")) == TEXT
    assert delivered(curl(proxy, source, "pop3", security, "1")) == TEXT


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_sends(
    proxy: Proxy, source: Source, security: Security, mechanism: str, tmp_path: Path
) -> None:
    (tmp_path / "message").write_bytes(TEXT.removesuffix(b"\r\n"))  # swaks adds a line end of its own
    before = proxy.servers.postfix.log.end
    options = {
        "--server": LOOPBACK,
        "--port": str(proxy.port(source, "smtp", security)),
        "--from": ALICE.address,
        "--to": BOB.address,
        "--data": f"@{tmp_path / 'message'}",
        "--auth": mechanism,
        "--auth-user": BOB.address,
        "--auth-password": BOB.password,
    }
    run(program("swaks"), *(word for option in options.items() for word in option), *SWAKS_TLS[security])
    wait_for_delivery(proxy, before)
    assert delivered(curl(proxy, source, "imap", security, "INBOX;MAILINDEX=1")) == TEXT
