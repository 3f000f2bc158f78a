"""The options of ``geomail.toml``: one model per table.

Names, values and contexts are nginx's. An option's default and its one-line
doc are here and nowhere else. A field without a repr is a secret. A table's
model has the keys that the table may hold: both ``[mail]`` and
``[[mail.server]]`` may hold the keys of :class:`Options`. ``load`` gives each
:class:`Server` the values that it inherits, so that it is complete.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from geomail.config.address import Address, AuthHttp, NameServers
from geomail.config.listen import KeepAlive, Listen
from geomail.config.schema.options import Options, Table
from geomail.config.schema.tables import (
    Auth,
    Backend,
    Control,
    Logging,
    Mail,
    Metrics,
    Passthrough,
    Process,
    Server,
    Users,
)
from geomail.config.values import ProtocolName, name_backends

__all__ = [
    "TABLES",
    "Address",
    "Auth",
    "AuthHttp",
    "Backend",
    "Config",
    "Control",
    "Document",
    "KeepAlive",
    "Listen",
    "Logging",
    "Mail",
    "Metrics",
    "NameServers",
    "Options",
    "Passthrough",
    "Process",
    "ProtocolName",
    "Server",
    "Table",
    "Users",
    "list_keys",
]


class Document(Process):
    """The whole file in its written form."""

    log: Logging = Field(Logging(), description="The log.")
    control: Control = Field(Control(), description="The control socket.")
    metrics: Metrics = Field(Metrics(), description="The metrics.")

    mail: Mail = Field(Mail(), description="The mail proxy.")
    auth: Auth = Field(Auth(), description="The auth sources other than auth_http.")
    backends: Annotated[dict[str, Backend], BeforeValidator(name_backends)] = Field(
        default_factory=dict, description="The mail servers behind geomail, one [backends.NAME] each."
    )


class Config(Process):
    """A complete configuration: each server has what it inherits, and everything is checked."""

    servers: tuple[Server, ...]
    log: Logging = Logging()
    control: Control = Control()
    metrics: Metrics = Metrics()
    backends: dict[str, Backend] = Field(default_factory=dict)
    passthrough: Passthrough = Passthrough()
    users: Users = Users()


def list_keys(table: type[Table]) -> list[str]:
    """List the keys that the file may hold in this table."""
    return [key for key, option in table.model_fields.items() if not option.exclude]


#: The model of each table, by its header in the file.
TABLES: dict[str, type[Table]] = {
    "": Document,
    "[log]": Logging,
    "[control]": Control,
    "[metrics]": Metrics,
    "[mail]": Mail,
    "[[mail.server]]": Server,
    "[auth]": Auth,
    "[auth.passthrough]": Passthrough,
    "[auth.users]": Users,
    "[backends.NAME]": Backend,
}
