"""The options of ``geomail.toml``: one model per table.

Names, values and contexts are nginx's. An option's default and its one-line
doc stand here and nowhere else; a field without a repr is a secret. A table's
model says which keys may stand in it: what :class:`Mail` inherits from
:class:`Options`, ``[mail]`` and ``[[mail.server]]`` may both hold. ``load``
gives each :class:`Server` what it inherits, so that it is complete.
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
from geomail.config.values import name_backends

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
    "Server",
    "Table",
    "Users",
    "keys_of",
]


class Document(Process):
    """The whole file, as it is written."""

    log: Logging = Field(Logging(), description="the log")
    control: Control = Field(Control(), description="the control socket")
    metrics: Metrics = Field(Metrics(), description="metrics")

    mail: Mail = Field(Mail(), description="the mail proxy")
    auth: Auth = Field(Auth(), description="auth sources beside auth_http")
    backends: Annotated[dict[str, Backend], BeforeValidator(name_backends)] = Field(
        default_factory=dict, description="mail servers behind geomail, one [backends.NAME] each"
    )


class Config(Process):
    """A whole configuration, complete: inheritance is resolved, everything is checked."""

    servers: tuple[Server, ...]
    log: Logging = Logging()
    control: Control = Control()
    metrics: Metrics = Metrics()
    backends: dict[str, Backend] = Field(default_factory=dict)
    passthrough: Passthrough = Passthrough()
    users: Users = Users()


def list_keys(table: type[Table]) -> list[str]:
    """The keys that the file may hold in this table."""
    return [key for key, option in table.model_fields.items() if not option.exclude]


#: The model of each table, by the header that the file writes.
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
