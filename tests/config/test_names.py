"""Host names in a configuration become addresses before geomail binds anything."""

import _socket
import socket
from typing import Any

import pytest

from geomail.config.address import Address
from geomail.config.probe.names import DuplicateAddress, UnknownName, resolve_names
from geomail.config.schema import Config, Server

LOCAL = "localhost:143"


def resolve_server(**options: Any) -> Server:
    server = Server.model_validate({"protocol": "imap", "listen": "127.0.0.1:143", **options})
    return resolve_names(Config(servers=(server,))).servers[0]


@pytest.mark.parametrize(
    ("listen", "each"),
    [
        ("127.0.0.1:143", ["127.0.0.1:143"]),
        ("[::1]:143-145 ssl", ["[::1]:143 ssl", "[::1]:144 ssl", "[::1]:145 ssl"]),
        ("unix:/run/imap", ["unix:/run/imap"]),
        (["localhost:143", "localhost:993 ssl"], ["127.0.0.1:143", "127.0.0.1:993 ssl"]),
    ],
)
def test_each_listen_is_one_address(listen: object, each: list[str]) -> None:
    words = [entry.words for entry in resolve_server(listen=listen).listen]

    # localhost may have an IPv6 address as well
    assert [text for text in words if text in each or not text.startswith("[::1]")] == each


def test_addresses_of_one_name_are_not_taken_twice() -> None:
    labels = [entry.label for entry in resolve_server(listen=["localhost:143-144"]).listen]

    assert len(labels) == len(set(labels))


@pytest.mark.parametrize("second", ["127.0.0.1:143", "127.0.0.1:140-150 ssl"])
def test_a_name_may_stand_for_an_address_that_is_taken(second: str) -> None:
    servers = [Server.model_validate({"protocol": "imap", "listen": listen}) for listen in (LOCAL, second)]

    with pytest.raises(
        DuplicateAddress, match=r"127\.0\.0\.1:143 is listened on twice: localhost:143 and 127"
    ):
        resolve_names(Config(servers=tuple(servers)))
    with pytest.raises(DuplicateAddress):
        resolve_server(listen=[second, LOCAL])


def test_port_0_is_another_port_each_time() -> None:
    assert len(resolve_server(listen=["127.0.0.1:0", "127.0.0.1:0"]).listen) == 2


def test_a_name_has_no_addresses_of_a_kind_that_this_machine_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def on_a_machine_without_ipv6(host: str, port: None, *, type: int, flags: int) -> list[Any]:  # noqa: A002
        filtered = flags & socket.AI_ADDRCONFIG
        infos = _socket.getaddrinfo(host, port, socket.AF_INET, type)
        return infos if filtered else [*infos, (socket.AF_INET6, type, 6, "", ("::1", 0, 0, 0))]

    monkeypatch.setattr("geomail.config.probe.names.getaddrinfo", on_a_machine_without_ipv6)

    assert [entry.label for entry in resolve_server(listen=LOCAL).listen] == ["127.0.0.1:143"]


def test_who_is_believed_may_be_named() -> None:
    server = resolve_server(set_real_ip_from=["10.0.0.0/8", "localhost", "unix:", "::1"])

    assert {"10.0.0.0/8", "127.0.0.1", "unix:", "::1"} <= set(server.set_real_ip_from)


def test_name_servers_may_be_named() -> None:
    server = resolve_server(resolver="localhost:5353 valid=5s")

    assert Address("127.0.0.1", 5353) in server.resolver.servers
    assert server.resolver.valid == 5


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("listen", "nowhere.invalid:143"),
        ("resolver", "nowhere.invalid"),
        ("set_real_ip_from", "nowhere.invalid"),
    ],
)
def test_a_name_without_an_address(option: str, value: str) -> None:
    with pytest.raises(UnknownName, match=f"host not found in {option}: 'nowhere.invalid'"):
        resolve_server(**{option: value})
