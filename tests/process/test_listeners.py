"""The listeners of a configuration, and what happens to them when it changes."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from geomail.config.schema import Config, Server
from geomail.net.openssl.contexts import ServerContext
from geomail.net.ticket_keys import TicketKey
from geomail.process.listeners import (
    CannotListen,
    Listener,
    close_vanished,
    make_tls_side,
    open_listeners,
    tune_all,
)
from tests.servers.certificates import Certificates
from tests.servers.support import free_port


def config(*servers: dict[str, Any]) -> Config:
    return Config(servers=tuple(Server.model_validate({"protocol": "imap", **server}) for server in servers))


@contextmanager
def listening(wanted: Config, previous: list[Listener] | None = None) -> Iterator[list[Listener]]:
    listeners = open_listeners(wanted, previous or [])
    try:
        yield listeners
    finally:
        close_vanished(listeners, [])


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
        client.settimeout(20)
        return client.connect_ex((host, port)) == 0


@pytest.mark.parametrize("order", [1, -1])
def test_an_address_shares_the_socket_of_its_wildcard(order: int) -> None:
    port = free_port()
    servers: list[dict[str, Any]] = [
        {"name": "all", "listen": f"*:{port}"},
        {"name": "one", "listen": [f"127.0.0.1:{port} bind", f"127.0.0.3:{port} proxy_protocol"]},
    ]
    wanted = config(*servers[::order], {"name": "six", "listen": f"[::1]:{port}"})
    with listening(wanted) as listeners:
        assert sorted(listener.server.name for listener in listeners) == ["all", "six"]
        (whole,) = (listener for listener in listeners if listener.server.name == "all")
        names = {host: whole.at(host).server.name for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3")}
        assert names == {"127.0.0.1": "one", "127.0.0.2": "all", "127.0.0.3": "one"}
        assert whole.at("127.0.0.3").listen.proxy_protocol
        listener = whole.at("127.0.0.1")
        assert wanted.servers[listener.server_index] is listener.server
        assert wanted.servers[whole.server_index] is whole.server
        assert accepts(port)
        assert accepts(port, "::1")


def test_an_address_has_one_spelling() -> None:
    port = free_port()
    wanted = config({"name": "all", "listen": f"[::]:{port}"}, {"name": "one", "listen": f"[0:0::1]:{port}"})
    with listening(wanted) as (whole,):
        assert whole.at("::1").server.name == "one"


def test_a_change_keeps_what_stays_closes_what_goes_and_binds_what_is_new(tmp_path: Path) -> None:
    stays, goes, comes = free_port(), free_port(), free_port()
    path = tmp_path / "imap"
    before = config({"listen": [f"127.0.0.1:{stays}", f"127.0.0.1:{goes}", f"unix:{path}"]})
    after = config({"listen": [f"127.0.0.1:{comes}"]}, {"listen": f"127.0.0.1:{stays} backlog=7"})
    with listening(before) as old, listening(after, old) as new:
        close_vanished(old, new)
        assert old[0].sock is new[1].sock
        assert (accepts(stays), accepts(goes), accepts(comes)) == (True, False, True)
        assert not path.exists()


def answered_by(listeners: list[Listener], port: int, host: str) -> str:
    """Return the server that accepts a client at this address; empty if there is no listener."""
    with socket.socket() as client:
        client.settimeout(20)
        if client.connect_ex((host, port)) != 0:
            return ""
        for listener in listeners:
            try:
                fd, _ = listener.sock._accept()  # type: ignore[attr-defined]
            except BlockingIOError:
                continue
            os.close(fd)
            return listener.at(host).server.name
    raise AssertionError("no listener has accepted")


def test_an_address_that_becomes_all_addresses_keeps_its_clients() -> None:
    port = free_port()
    before = config({"name": "old", "listen": f"127.0.0.1:{port} proxy_protocol"})
    after = config({"name": "all", "listen": f"*:{port}"}, {"name": "one", "listen": f"127.0.0.3:{port}"})
    with (
        listening(before) as old,
        socket.create_connection(("127.0.0.1", port), 5),
        listening(after, old) as new,
    ):
        close_vanished(old, new)
        assert new[1].sock is old[0].sock
        assert not new[1].listen.proxy_protocol
        os.close(new[1].sock._accept()[0])  # type: ignore[attr-defined]  # the client that connected before the change
        names = [answered_by(new, port, f"127.0.0.{number}") for number in (1, 2, 3)]
        assert names == ["all", "all", "one"]
        with listening(before, new) as again:
            close_vanished(new, again)
            assert again[0].sock is old[0].sock
            assert [answered_by(again, port, f"127.0.0.{number}") for number in (1, 2)] == ["old", ""]


def test_all_addresses_become_single_ones() -> None:
    port = free_port()
    before = config({"name": "all", "listen": f"*:{port}"})
    after = config({"name": "one", "listen": [f"127.0.0.1:{port}", f"127.0.0.3:{port}"]})
    with listening(before) as old, listening(after, old) as new:
        assert [answered_by(new, port, host) for host in ("127.0.0.1", "127.0.0.3")] == ["one", "one"]
        close_vanished(old, new)
        assert [answered_by(new, port, f"127.0.0.{number}") for number in (1, 2)] == ["one", ""]


def test_ipv6only_can_be_changed() -> None:
    port = free_port()
    with listening(config({"listen": f"[::]:{port}"})) as old:
        assert not accepts(port)
        with listening(config({"listen": f"[::]:{port} ipv6only=off"}), old) as new:
            close_vanished(old, new)
            assert accepts(port)
            assert accepts(port, "::1")


def test_a_change_may_do_no_more_than_a_start() -> None:
    port = free_port()
    both = {"listen": f"[::]:{port} ipv6only=off"}, {"listen": f"127.0.0.1:{port}"}
    for previous in both:
        with listening(config(previous)) as old, pytest.raises(CannotListen, match="Address already in use"):
            open_listeners(config(*both), old)
    with pytest.raises(CannotListen, match="Address already in use"):
        open_listeners(config(*both), [])


def test_a_socket_that_was_shared_once_is_not_shared_with_strangers() -> None:
    port = free_port()
    with (
        listening(config({"listen": f"127.0.0.1:{port}"})) as old,
        listening(config({"listen": f"*:{port}"}), old) as new,
    ):
        for listener in new:
            assert not listener.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        with pytest.raises(CannotListen, match="Address already in use"):
            open_listeners(config({"listen": f"127.0.0.1:{port}"}), [])


def test_the_system_may_choose_the_port_more_than_once() -> None:
    wanted = config({"name": "one", "listen": "127.0.0.1:0"}, {"name": "two", "listen": "127.0.0.1:0"})
    with listening(wanted) as (one, two):
        assert (one.server.name, two.server.name) == ("one", "two")
        assert one.sock.getsockname() != two.sock.getsockname()


def test_all_or_nothing() -> None:
    kept, taken, fresh = free_port(), free_port(), free_port()
    with (
        socket.create_server(("127.0.0.1", taken)),
        listening(config({"listen": f"127.0.0.1:{kept}"})) as old,
    ):
        wanted = config({"listen": [f"127.0.0.1:{port}" for port in (kept, fresh, taken)]})
        with pytest.raises(CannotListen, match=f"cannot listen on 127.0.0.1:{taken}: Address already in use"):
            open_listeners(wanted, old)
        assert (accepts(kept), accepts(fresh)) == (True, False)


def test_options_of_sockets_change_only_when_the_configuration_is_in_force() -> None:
    port = free_port()

    def keeps_alive(listeners: list[Listener]) -> bool:
        return bool(listeners[0].sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    with (
        listening(config({"listen": f"127.0.0.1:{port}"})) as old,
        listening(config({"listen": f"127.0.0.1:{port} so_keepalive=off"}), old) as new,
    ):
        assert keeps_alive(new)
        assert list(tune_all(new)) == []
        assert not keeps_alive(new)


def test_options_that_the_system_does_not_take_are_reported() -> None:
    port = free_port()
    with listening(config({"listen": f"127.0.0.1:{port} so_keepalive=12h"})) as listeners:
        said = f"listen 127.0.0.1:{port}: so_keepalive: 43200: Invalid argument; the option is left out"
        assert list(tune_all(listeners)) == [said]


def test_tls_settings_that_cannot_be_used(tmp_path: Path) -> None:
    files = {"ssl_certificate": str(tmp_path / "no.crt"), "ssl_certificate_key": str(tmp_path / "no.key")}
    wanted = config({"name": "x", "listen": "127.0.0.1:993 ssl", **files})
    with pytest.raises(CannotListen, match="TLS of server x: ssl_certificate"):
        make_tls_side(wanted.servers[0])


def test_each_reload_draws_keys_for_tickets_of_which_its_servers_share_one(
    certificates: Certificates,
) -> None:
    shown = {
        "ssl_certificate": str(certificates.server.certificate),
        "ssl_certificate_key": str(certificates.server.key),
        "ssl_session_cache": "shared:drawn:64k",
    }
    wanted = config(*({"name": name, "listen": f"127.0.0.1:{free_port()} ssl", **shown} for name in "ab"))
    with listening(wanted) as before:
        first, other = (_ticket_keys(listener) for listener in before)
        with listening(wanted, before) as after:
            second, *_ = (_ticket_keys(listener) for listener in after)

    assert first == other
    assert second[0] not in first
    assert second[1:] == first


def _ticket_keys(listener: Listener) -> list[TicketKey]:
    assert listener.side is not None
    assert isinstance(listener.side.context, ServerContext)
    assert listener.side.context.changing_keys is not None
    return listener.side.context.changing_keys.get_current()[0]
