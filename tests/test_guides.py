"""The manuals of section 7 tell the truth about installing geomail and about the auth_http protocol."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTALL = (ROOT / "man" / "man7" / "geomail-install.7").read_text()
AUTH_HTTP = (ROOT / "man" / "man7" / "geomail-auth-http.7").read_text()
HEADERS = sorted(
    {
        found.lower()
        for file in (ROOT / "geomail" / "auth").glob("*.py")
        for found in re.findall(r'b"((?:Auth|Client|Proxy)-[A-Za-z-]+): ', file.read_text())
        + re.findall(r'b"(auth-[a-z-]+)"', file.read_text())
    }
)


def test_the_tested_packages_are_installed_as_the_tests_install_them() -> None:
    section = INSTALL.partition(".Ss Exactly the packages that were tested")[2].partition(".Ss ")[0]
    commands = re.findall(r"^/opt/geomail/bin/pip (install .*)$", section, re.MULTILINE)
    environment = (ROOT / "tests" / "environment.sh").read_text()

    assert len(commands) == 2
    for command in commands:
        assert command.removesuffix(" .").replace("install ", "install --quiet ") in environment


def test_headers_were_found() -> None:
    assert {"auth-user", "client-ip", "auth-backend", "proxy-protocol-addr"} <= set(HEADERS)


@pytest.mark.parametrize("header", HEADERS)
def test_the_page_about_auth_services_describes_each_header(header: str) -> None:
    described = " ".join(re.findall(r"\bLi (Auth-.*|Client-.*|Proxy-.*)", AUTH_HTTP)).lower()
    assert header in re.findall(r"[a-z-]+", described)
