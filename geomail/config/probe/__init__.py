"""What only this machine can tell of a configuration.

``files``      certificates, keys and whatever else TLS needs
``users``      the users file
``process``    the user that workers run as, the log, the control socket
``account``    what workers open later on, tried as the user that they run as
``addresses``  names that resolve, addresses that can be listened on
"""

from __future__ import annotations

from geomail.config.load import Inspection
from geomail.config.probe.account import probe_account
from geomail.config.probe.addresses import probe_addresses
from geomail.config.probe.files import probe_backend, probe_server
from geomail.config.probe.process import probe_process
from geomail.config.probe.users import probe_users_file
from geomail.errors import Problem


def probe(found: Inspection) -> list[Problem]:
    """What is wrong with the files, names and addresses that a configuration points at.

    A configuration with errors is looked at as far as it was understood.
    """
    return [*probe_files(found), *probe_names(found)]


def probe_files(found: Inspection) -> list[Problem]:
    """What is wrong with users, groups and files of all kinds; starts no thread."""
    if (config := found.draft) is None:
        return []
    problems = list(probe_process(config, found.source))
    problems += probe_account(config, found.source)
    for index, server in enumerate(config.servers):
        problems += probe_server(server, index, found.source)
    for name, backend in config.backends.items():
        problems += probe_backend(backend, ("backends", name), found.source)
    if any(server.auth == "users" for server in config.servers):
        problems += probe_users_file(config, found.source)
    return list(dict.fromkeys(problems))


def probe_names(found: Inspection) -> list[Problem]:
    """Which host names do not resolve now, and which addresses cannot be listened on.

    An error where nginx would not start; for backends a warning.
    """
    return [] if found.draft is None else list(probe_addresses(found.draft, found.source))
