"""Checks of a configuration against this machine.

``files``      certificates, keys and the other files of TLS
``users``      the users file
``process``    the workers' user, the log, the control socket
``account``    files that workers open later, tried as the workers' user
``addresses``  host names, and the addresses to listen on
``names``      replaces host names by their addresses, before geomail serves
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
    """Report problems with the files, names and addresses that a configuration names.

    If the configuration has errors, its valid parts are probed.
    """
    return [*probe_files(found), *probe_names(found)]


def probe_files(found: Inspection) -> list[Problem]:
    """Report problems with users, groups and files. This starts no thread."""
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
    """Report host names that do not resolve now, and addresses that geomail cannot listen on.

    These are errors if nginx would not start either; for backends they are warnings.
    """
    return [] if found.draft is None else list(probe_addresses(found.draft, found.source))
