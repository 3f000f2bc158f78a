"""nginx's defaults for options that an nginx.conf does not set, where geomail's own differ."""

from __future__ import annotations

from collections.abc import Sequence

from geomail.config.nginx.write import Entry, Item, Table

#: Features of geomail that nginx does not have: the values that switch them off, and the reason.
_AS_NGINX = {
    "max_commands": (0, "nginx has no such limit"),
    "max_login_attempts": (0, "nginx has no such limit"),
    "nginx_replies": (True, "clients get nginx's replies"),
    "imap_greeting_capability": (False, "nginx's greeting has none"),
}
_PROCESSES = (("user", "nobody"), ("workers", 1), ("worker_connections", 512))


def write_defaults(top: Table, mail: Table, servers: Sequence[Table]) -> None:
    """Add nginx's defaults where geomail's differ, except ``ssl_ciphers``."""
    for key, value in _PROCESSES:
        top.entries.setdefault(key, Entry([Item(value, "nginx's default")]))
    alike = {key: Entry([Item(value, reason)]) for key, (value, reason) in _AS_NGINX.items()}
    mail.entries = {**alike, **mail.entries}
    if any(_uses_resolver(table) for table in (mail, *servers)):
        mail.entries.setdefault("resolver_timeout", Entry([Item("30s", "nginx's default")]))


def find_server_with_other_ciphers(mail: Table, servers: Sequence[Table]) -> Table | None:
    """Return the first server with TLS and without ``ssl_ciphers``: nginx would use its own default there."""
    if "ssl_ciphers" in mail.entries:
        return None
    return next(
        (table for table in servers if _has_tls(table, mail) and "ssl_ciphers" not in table.entries), None
    )


def _uses_resolver(table: Table) -> bool:
    """Tell whether this table switches a resolver on."""
    return "resolver" in table.entries and table.entries["resolver"].items[0].value != "off"


def _has_tls(server: Table, mail: Table) -> bool:
    starttls = server.entries.get("starttls") or mail.entries.get("starttls")
    if starttls is not None and starttls.items[0].value != "off":
        return True
    listens = server.entries.get("listen")
    return listens is not None and any("ssl" in item.value.split() for item in listens.items)
