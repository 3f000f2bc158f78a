"""A real Dovecot: IMAP and POP3 on loopback ports; it also verifies Postfix's logins."""

import base64
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from tests.servers.accounts import ACCOUNTS, Account
from tests.servers.certificates import Certificates
from tests.servers.support import LOOPBACK, Daemon, Log, free_port, program, unavailable

#: The owner of the mailboxes: Dovecot and Postfix refuse to work on them as root.
MAIL_USER = "nobody"

CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/run
log_path = {folder}/log
auth_failure_delay = 0
auth_mechanisms = plain login
disable_plaintext_auth = no
haproxy_trusted_networks = 127.0.0.1
login_trusted_networks = 127.0.0.1
listen = 127.0.0.1
protocols = imap pop3
mail_location = maildir:{folder}/mail/%u
mail_uid = {uid}
mail_gid = {gid}
mail_max_userip_connections = 0
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
passdb {{
  driver = passwd-file
  args = username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  inet_listener imap_haproxy {{
    port = {imap_haproxy}
    haproxy = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
  inet_listener pop3_haproxy {{
    port = {pop3_haproxy}
    haproxy = yes
  }}
}}
"""


class Dovecot:
    """Ports, mailboxes and log of a running Dovecot.

    ``imap`` and ``pop3`` are plain and offer STARTTLS, ``imaps`` and
    ``pop3s`` are implicit TLS, the ``_haproxy`` ones demand a PROXY header.
    """

    def __init__(self, folder: Path, certificates: Certificates) -> None:
        self.folder = folder
        self.imap, self.imaps, self.imap_haproxy = free_port(), free_port(), free_port()
        self.pop3, self.pop3s, self.pop3_haproxy = free_port(), free_port(), free_port()
        self.auth_socket = folder / "auth"
        self.mail = folder / "mail"
        self.log = Log(folder / "log")
        self._certificate = certificates.server
        self._start()

    def maildir(self, account: Account) -> Path:
        """Return the folder of a user's mailbox."""
        return self.mail / account.address

    def empty(self, account: Account) -> None:
        """Remove all mail of a user."""
        shutil.rmtree(self.maildir(account), ignore_errors=True)

    def stop(self) -> None:
        """Stop the server."""
        self._daemon.stop()

    def _start(self) -> None:
        command = program("dovecot")
        _check(command)
        self._write_files()
        self._daemon = Daemon(
            [command, "-F", "-c", str(self.folder / "dovecot.conf")], self.folder / "output"
        )
        ports = (self.imap, self.imaps, self.imap_haproxy, self.pop3, self.pop3s, self.pop3_haproxy)
        self._daemon.wait_until_accepting((LOOPBACK, port) for port in ports)

    def _write_files(self) -> None:
        owner = pwd.getpwnam(MAIL_USER)
        self.mail.mkdir()
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)
        (self.folder / "run").mkdir()
        (self.folder / "users").write_text("".join(_entry(account) for account in ACCOUNTS))
        (self.folder / "dovecot.conf").write_text(
            CONFIGURATION.format(
                **{name: value for name, value in vars(self).items() if isinstance(value, int)},
                folder=self.folder,
                uid=owner.pw_uid,
                gid=owner.pw_gid,
                certificate=self._certificate.certificate,
                key=self._certificate.key,
            )
        )


def _entry(account: Account) -> str:
    secret = base64.b64encode(account.password.encode()).decode()
    return f"{account.address}:{{PLAIN.B64}}{secret}\n"


def _check(command: str) -> None:
    if os.geteuid() != 0:
        unavailable("Dovecot can only be started by root")
    for protocol in ("imap", "pop3"):
        if not Path("/usr/lib/dovecot", protocol).exists():
            unavailable(f"dovecot-{protocol}d is not installed (make servers)")
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    if not version.startswith("2.3."):
        unavailable(f"the tests' configuration is for Dovecot 2.3, and this is {version.strip()}")
