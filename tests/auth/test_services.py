"""The pools of auth services, which the servers of a process share."""

from typing import Any

import pytest

from geomail.auth.services import AuthServices
from tests.protocols.support import server

URL = "http://127.0.0.1:9000/auth"


def pools(*options: dict[str, Any]) -> list[Any]:
    services = AuthServices(lambda *_: None)
    return [services.get_pool(server("imap", **{"auth_http": URL, **given}), "it") for given in options]


def test_servers_that_ask_one_service_share_its_connections() -> None:
    one, other = pools({}, {"auth_http": "http://127.0.0.1:9000/other", "auth_http_connections": 300})

    assert one is other
    assert one.most == 300


@pytest.mark.parametrize(
    "other", [{"auth_http": "http://127.0.0.1:9001/auth"}, {"auth_http": "https://127.0.0.1:9000/auth"}]
)
def test_another_service_has_its_own(other: dict[str, Any]) -> None:
    one, two = pools({}, other)

    assert one is not two


def test_unasked_bytes_of_a_service_are_logged_once_and_counted_each_time() -> None:
    noted: list[tuple[str, str]] = []
    services = AuthServices(lambda *told: noted.append(told))
    pool = services.get_pool(server("imap", auth_http=URL), "auth http server 127.0.0.1:9000")
    pool.report_unasked()
    pool.report_unasked()

    assert noted[0][1].startswith("auth http server 127.0.0.1:9000 sent bytes that geomail did not ask for: ")
    assert [kind for kind, _ in noted] == ["auth_unasked"] * 2
    assert noted[1][1] == ""
