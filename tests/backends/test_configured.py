"""A configured backend is found by any spelling of its address, so that its TLS is used."""

import socket

import pytest

from geomail.backends.configured import ConfiguredBackends
from geomail.backends.endpoint import Endpoint
from geomail.config.schema import Backend
from geomail.net.connect import Address
from geomail.net.tls_contexts import make_client_context

#: The addresses of names; ``lost.test`` is a configured name without an address.
NAMES = {
    "localhost": ["::1", "127.0.0.1"],
    "mail.test": ["192.0.2.7", "2001:db8::7"],
    "alias.test": ["192.0.2.7"],
    "mapped.test": ["::ffff:192.0.2.7"],
    "two.test": ["192.0.2.9", "192.0.2.7"],
    "other.test": ["192.0.2.9"],
    "0x7f000001": ["127.0.0.1"],
    "2.local": ["127.0.0.2"],
}


def resolve(host: str, port: int) -> list[Address]:
    found = NAMES.get(host.lower().removesuffix("."))
    if found is None and host.replace(".", "").replace(":", "").isalnum() and host[-1].isdigit():
        found = [host]
    if found is None:
        raise OSError(f"{host} could not be resolved")
    families = [socket.AF_INET6 if ":" in one else socket.AF_INET for one in found]
    return [(family, (one, port)) for family, one in zip(families, found, strict=True)]


def backends(**addresses: str) -> ConfiguredBackends:
    """Make backends by name and address; a backend whose name begins with ``plain`` has no TLS."""
    tables = {
        name: Backend.model_validate(
            {"name": name, "address": address, "tls": "off" if name.startswith("plain") else "starttls"}
        )
        for name, address in addresses.items()
    }
    return ConfiguredBackends(tables, make_client_context)


@pytest.mark.parametrize(
    ("configured", "asked"),
    [
        *(
            ("127.0.0.1:143", host)
            for host in ("127.0.0.1", "localhost", "localhost.", "LocalHost", "::ffff:127.0.0.1", "0.0.0.0")
        ),
        *(("127.0.0.1:143", host) for host in ("::ffff:7f00:1", "[::ffff:127.0.0.1]", "0x7f000001")),
        *(("[::1]:143", host) for host in ("::1", "0:0::1", "localhost", "::", "[::1]")),
        *(("localhost:143", host) for host in ("127.0.0.1", "::1", "LOCALHOST.", "::ffff:127.0.0.1")),
        *(("mail.test:143", host) for host in ("Mail.Test.", "alias.test", "mapped.test", "two.test")),
        *(("mail.test:143", host) for host in ("192.0.2.7", "2001:DB8:0::7", "::ffff:192.0.2.7")),
        ("[::ffff:192.0.2.7]:143", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:143", "mail.test"),
    ],
)
def test_every_spelling_of_a_configured_address_is_that_backend(configured: str, asked: str) -> None:
    found = backends(one=configured, lost="lost.test:143").find_by_address(asked, 143, resolve)

    assert (found.name, found.tls) == ("one", "starttls")
    assert found.side is not None


@pytest.mark.parametrize(
    ("asked", "port"),
    [("127.0.0.2", 143), ("2.local", 143), ("127.0.0.1", 144), ("localhost", 144), ("other.test", 143)],
)
def test_another_address_is_another_backend(asked: str, port: int) -> None:
    found = backends(one="127.0.0.1:143", two="mail.test:143").find_by_address(asked, port, resolve)

    assert (found.name, found.tls, found.side) == ("", "off", None)
    assert (found.host, found.port) == (asked, port)


def test_geomail_connects_to_the_address_that_it_compared() -> None:
    found = backends(one="127.0.0.1:143").find_by_address("other.test", 143, resolve)

    assert found.addresses == ((socket.AF_INET, ("192.0.2.9", 143)),)


def test_a_name_without_an_address_gives_no_endpoint_without_tls() -> None:
    with pytest.raises(OSError, match=r"nowhere.test could not be resolved"):
        backends(one="127.0.0.1:143").find_by_address("nowhere.test", 143, resolve)


@pytest.mark.parametrize("asked", ["192.0.2.9", "other.test"])
def test_any_address_may_be_that_of_a_backend_with_tls_whose_name_has_none(asked: str) -> None:
    with pytest.raises(OSError, match=r"lost.test could not be resolved"):
        backends(one="127.0.0.1:143", lost="lost.test:143").find_by_address(asked, 143, resolve)


def test_names_are_resolved_only_if_the_result_depends_on_it() -> None:
    def never(host: str, _port: int) -> list[Address]:
        pytest.fail(f"{host} was resolved")

    plain = backends(plain="mail.test:143", one="127.0.0.1:993")
    assert plain.find_by_address("nowhere.test", 143, never) == Endpoint("", "nowhere.test", 143)
    assert plain.find_by_address("127.0.0.2", 993, never) == Endpoint("", "127.0.0.2", 993)


def test_with_only_configured_a_backend_without_tls_is_compared_too() -> None:
    found = backends(plain="127.0.0.1:143").find_by_address("localhost", 143, resolve, only_configured=True)

    assert found.name == "plain"
