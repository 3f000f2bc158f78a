import json

import pytest

from geomail.config.schema import (
    TABLES,
    Address,
    Backend,
    Document,
    Mail,
    NameServers,
    Options,
    Server,
    list_keys,
)
from geomail.config.schema.options import INTERMEDIATE_CIPHERS
from geomail.protocols.facts import FACTS

# nginx's documentation of its mail modules: directive, default.
DEFAULTS_OF_NGINX = {
    "timeout": 60,
    "max_errors": 5,
    "resolver": NameServers(),
    "starttls": "off",
    "ssl_certificate": (),
    "ssl_certificate_key": (),
    "ssl_protocols": ("TLSv1.2", "TLSv1.3"),
    "ssl_password_file": None,
    "ssl_certificate_compression": False,
    "ssl_dhparam": None,
    "ssl_ecdh_curve": "auto",
    "ssl_prefer_server_ciphers": False,
    "ssl_session_cache": "none",
    "ssl_session_tickets": True,
    "ssl_session_ticket_key": (),
    "ssl_session_timeout": 300,
    "ssl_verify_client": "off",
    "ssl_verify_depth": 1,
    "ssl_client_certificate": None,
    "ssl_trusted_certificate": None,
    "ssl_crl": None,
    "ssl_conf_command": (),
    "smtp_auth": ("plain", "login"),
    "imap_auth": ("plain",),
    "pop3_auth": ("plain",),
    "smtp_capabilities": (),
    "imap_capabilities": ("IMAP4", "IMAP4rev1", "UIDPLUS"),
    "pop3_capabilities": ("TOP", "USER", "UIDL"),
    "smtp_greeting_delay": 0,
    "auth_http": None,
    "auth_http_header": (),
    "auth_http_timeout": 60,
    "auth_http_pass_client_cert": False,
    "set_real_ip_from": (),
    "proxy": False,
    "proxy_timeout": 86400,
    "proxy_pass_error_message": False,
    "xclient": "on",
    "proxy_smtp_auth": False,
    "proxy_protocol": "off",
}


#: Options for which nginx's default waits too long, or lets clients choose ciphers that are too weak.
OWN_DEFAULTS = {"resolver_timeout": 5, "ssl_ciphers": INTERMEDIATE_CIPHERS}


@pytest.mark.parametrize(("key", "default"), (DEFAULTS_OF_NGINX | OWN_DEFAULTS).items())
def test_defaults_are_those_of_nginx_but_for_some(key: str, default: object) -> None:
    assert getattr(Server(protocol="imap"), key) == default


def test_a_server_holds_all_that_mail_may_hold() -> None:
    assert set(list_keys(Server)) == set(list_keys(Options)) | {"listen", "protocol", "name"}
    assert set(list_keys(Mail)) == set(list_keys(Options)) | {"server"}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
def test_every_option_has_its_line_of_documentation(table: type[Document]) -> None:
    for key in list_keys(table):
        description = table.model_fields[key].description
        assert description, key
        assert "\n" not in description


def test_an_editor_can_be_told_what_is_allowed() -> None:
    schema = json.dumps(Document.model_json_schema(mode="serialization"))

    assert all(f'"{key}"' in schema for table in TABLES.values() for key in list_keys(table))


def test_dialogues_can_be_had_without_a_listener() -> None:
    for protocol in FACTS:
        assert Server(protocol=protocol, server_name="mx.test").name == f"{protocol} server"


def test_a_backend_has_an_address_for_all_protocols_or_for_each() -> None:
    tcp = Backend.model_validate({"name": "b", "address": "[::1]:143"})
    parted = Backend.model_validate({"name": "b", "imap": "unix:/x", "smtp": "10.0.0.1:587"})
    both = Backend.model_validate({"name": "b", "address": "10.0.0.1:143", "smtp": "10.0.0.1:587"})

    assert tcp.address_for("smtp") == tcp.address_for("pop3") == Address("::1", 143)
    assert parted.address_for("imap") == Address(path="/x")
    assert parted.address_for("pop3") is None
    assert both.address_for("smtp") == Address("10.0.0.1", 587)
    assert list(both.addresses()) == ["address", "smtp"]
