"""fail2ban's own filter for Dovecot, reading geomail's log: it bans who failed to log in, and nobody else."""

import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from geomail.events import EventStream
from geomail.sinks import log as sink
from tests.e2e.clients import connected
from tests.e2e.proxy import PROTOCOLS, Servers
from tests.servers.accounts import ALICE
from tests.servers.auth_http import AuthService
from tests.servers.geomail import Geomail
from tests.servers.support import LOOPBACK, free_port, program
from tests.sinks import support
from tests.sinks.test_forms import HOSTILE

VICTIM = "203.0.113.66"
#: Where clients come from.
GOOD, BAD, SILENT, EVIL = "127.0.0.11", "127.0.0.12", "127.0.0.13", "127.0.0.14"
FAILURE = "Authentication failure (password mismatch?)"
EVIL_NAMES = (
    f"x,{VICTIM}): unknown user",
    f"x>, method=PLAIN, rip={VICTIM}, lip={LOOPBACK}, session=<forged>",
    f"x>, rip={VICTIM}",
    f"rip={VICTIM}",
    f"a dovecot: imap-login: Disconnected (auth failed, 1 attempts): user=<b>, rip={VICTIM}",
    f"a dovecot: auth: pam(x,{VICTIM}): pam_authenticate() failed: {FAILURE}",
    f"authentication failure; logname= uid=0 euid=0 tty=dovecot ruser=x rhost={VICTIM}",
)


def banned(log: Path, mode: str) -> Counter[str]:
    """The addresses that the filter finds, and how often."""
    answer = subprocess.run(
        [program("fail2ban-regex"), "--out", "ip", str(log), f"dovecot[mode={mode}]"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ERROR" not in answer.stdout + answer.stderr
    # what waited for geomail to listen came from LOOPBACK
    return Counter(line for line in answer.stdout.splitlines() if line not in ("", LOOPBACK))


def test_who_fails_to_log_in_is_banned_and_nobody_else(
    servers: Servers,
    auth_http: AuthService,
    geomail_server: Callable[[str], Geomail],
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    ports = {protocol: free_port() for protocol in PROTOCOLS}
    auth_http.admit(ALICE, servers.ports)
    text = servers.configuration(
        [
            {
                "protocol": protocol,
                "listen": f"{LOOPBACK}:{port}",
                "auth_http": f"http://{LOOPBACK}:{auth_http.port}/",
            }
            for protocol, port in ports.items()
        ],
        log={"target": str(log), "format": "dovecot", "level": "debug"},
    )
    geomail_server(text)
    for protocol, port in ports.items():
        with connected(protocol, port, GOOD) as client:
            assert client.log_in(ALICE.address, ALICE.password)
            client.quit()
        with connected(protocol, port, BAD) as client:
            assert not client.log_in(ALICE.address, "wrong")
        with connected(protocol, port, SILENT) as client:
            client.quit()
        for name in EVIL_NAMES:
            with connected(protocol, port, EVIL) as client:
                assert not client.log_in(name, "x")
    sessions = len(PROTOCOLS) * (3 + len(EVIL_NAMES))
    for _ in range(100):
        if len(re.findall(r"(?:Login|Disconnected).*rip=127\.0\.0\.1[1-4]", log.read_text())) == sessions:
            break
        time.sleep(0.05)

    failures = {BAD: len(PROTOCOLS), EVIL: len(PROTOCOLS) * len(EVIL_NAMES)}
    assert banned(log, "normal") == failures
    assert banned(log, "aggressive") == {**failures, SILENT: len(PROTOCOLS)}


def test_no_name_or_reason_bans_somebody_else(tmp_path: Path) -> None:
    log, stream = sink.Log(), EventStream()
    path = tmp_path / "log"
    log.use(target=str(path), format="dovecot", level="debug")
    log.subscribe(stream)
    texts = [text.replace("6.6.6.6", VICTIM) for text in (*HOSTILE.values(), *EVIL_NAMES)]
    for text in texts:
        for event in support.every_kind(text, text).values():
            stream.emit(event)
    log.close()

    assert banned(path, "normal") == {support.CLIENT: len(texts)}
    assert banned(path, "aggressive") == {support.CLIENT: len(texts)}
