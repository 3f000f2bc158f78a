"""The start, and what workers that were started together share."""

import os
import socket
import ssl
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import toml

from tests.process.support import SOON, Running, listens, soon
from tests.servers.certificates import Certificates
from tests.servers.geomail import COMMAND, serving
from tests.servers.nginx import main_context
from tests.servers.support import LOOPBACK, free_port

SHARED: list[dict[str, Any]] = [
    {},
    {"ssl_session_cache": "shared:TLS:1m", "ssl_session_tickets": False},
    {"ssl_protocols": "TLSv1.2"},
]


@pytest.mark.parametrize("tls", SHARED, ids=["tickets", "cache", "tickets of TLS 1.2"])
def test_a_session_of_tls_goes_on_with_another_worker(
    running: Running, certificates: Certificates, tls: dict[str, Any]
) -> None:
    server = certificates.server
    running.mail = {"ssl_certificate": str(server.certificate), "ssl_certificate_key": str(server.key), **tls}
    running.start(f"{LOOPBACK}:{running.port} ssl")
    assert running.geomail is not None
    context = certificates.client_context()
    session: ssl.SSLSession | None = None
    for _ in range(60):
        with ExitStack() as opened:
            # a client that waits keeps its worker busy, so that another worker may accept the next one
            for _ in range(2):
                plain = opened.enter_context(socket.create_connection((LOOPBACK, running.port), SOON))
                secured = opened.enter_context(
                    context.wrap_socket(plain, server_hostname="localhost", session=session)
                )
                assert secured.recv(100).startswith(b"* OK ")
                assert session is None or secured.session_reused
                session = secured.session
        if len({line.split("session=")[1][:10] for line in _closed(running)}) == 2:
            return
    pytest.fail("one worker took all")


def _closed(running: Running) -> list[str]:
    assert running.geomail is not None
    return [
        line for line in running.geomail.log.text.splitlines() if " session " in line and "session=" in line
    ]


def test_servers_with_one_name_speak_their_own_protocols(tmp_path: Path) -> None:
    ports = {"imap": free_port(), "pop3": free_port()}
    servers = [
        {"name": "mail", "protocol": protocol, "listen": f"{LOOPBACK}:{port}"}
        for protocol, port in ports.items()
    ]
    mail = {"auth_http": f"http://{LOOPBACK}:9", "server": servers}
    text = toml.dumps({"workers": 1, "control": {"socket": "off"}, "mail": mail})
    with serving(text, tmp_path):
        for protocol, greeting in (("imap", b"* OK"), ("pop3", b"+OK")):
            with socket.create_connection((LOOPBACK, ports[protocol]), SOON) as client:
                assert client.recv(100).startswith(greeting)


NGINX = """
mail {{
    auth_http {loopback}:9/auth;
    server {{ listen {loopback}:{imap}; protocol imap; }}
    server {{ listen {loopback}:{smtp}; protocol smtp; }}
    server {{ listen {loopback}:{pop3}; protocol pop3; }}
}}
"""


def test_a_start_costs_three_seconds_of_processor_time_at_most(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("imap", "smtp", "pop3")}
    source, target = tmp_path / "nginx.conf", tmp_path / "geomail.toml"
    source.write_text(main_context(tmp_path) + NGINX.format(loopback=LOOPBACK, **ports))
    subprocess.run([COMMAND, "import-nginx", source, "-o", target], check=True, capture_output=True)
    process = subprocess.Popen([COMMAND, "serve", "-c", target], stderr=subprocess.DEVNULL)
    try:
        soon(lambda: all(map(listens, ports.values())))
    finally:
        process.terminate()
        _, process.returncode, used = os.wait4(process.pid, 0)

    assert used.ru_utime + used.ru_stime < 3, "wall-clock time says how busy the machine is"
