"""A real Postfix on loopback ports, with its own queue; it delivers to Dovecot's mailboxes."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from tests.servers.accounts import ACCOUNTS, DOMAINS
from tests.servers.certificates import Certificates
from tests.servers.dovecot import MAIL_USER, Dovecot
from tests.servers.support import LOOPBACK, Daemon, Log, free_port, program, unavailable

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/maillog
maillog_file_prefixes = {folder}
syslog_name = postfix
myhostname = mx.example.test
mydomain = example.test
mydestination =
mynetworks =
alias_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtpd_peername_lookup = no
biff = no

virtual_mailbox_domains = {domains}
virtual_mailbox_base = {mail}
virtual_mailbox_maps = texthash:{folder}/etc/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_mailbox_limit = 0
message_size_limit = 104857600

smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {auth_socket}
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_session_cache_database =
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_client_event_limit_exceptions = static:all
"""

MASTER = """
127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{submission} inet n - n - - smtpd
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{smtps} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
127.0.0.1:{haproxy} inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
127.0.0.1:{strict} inet n - n - - smtpd
  -o smtpd_authorized_xclient_hosts=
127.0.0.1:{lenient} inet n - n - - smtpd
  -o smtpd_authorized_xclient_hosts=
  -o mynetworks=127.0.0.1/32
  -o smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination
127.0.0.1:{lenient_xclient} inet n - n - - smtpd
  -o mynetworks=127.0.0.1/32
  -o smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination
127.0.0.1:{lenient_haproxy} inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
  -o mynetworks=127.0.0.1/32
  -o smtpd_relay_restrictions=permit_mynetworks,reject_unauth_destination
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

# Postfix's master changes its user for a moment; the kernel then no longer ends it with its parent.
GUARDED = ["/bin/sh", "-c", '"$@" & trap "kill $!" TERM; wait $!; wait $!', "postfix"]

QUEUES = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush"),
    *("hold", "incoming", "private", "saved", "trace"),
)


class Postfix:
    """Ports and log of a running Postfix.

    ``smtp`` takes mail for the tests' domains from every client, ``submission``
    only after a login (or XCLIENT with LOGIN). ``smtps`` is implicit TLS,
    ``haproxy`` requires a PROXY header. ``lenient``, ``lenient_xclient`` and
    (with a PROXY header) ``lenient_haproxy`` relay for 127.0.0.1. All but
    ``strict`` and ``lenient`` let clients use XCLIENT.
    """

    def __init__(self, folder: Path, certificates: Certificates, dovecot: Dovecot) -> None:
        self.folder = folder
        self.smtp, self.submission, self.smtps = free_port(), free_port(), free_port()
        self.haproxy, self.strict, self.lenient = free_port(), free_port(), free_port()
        self.lenient_xclient, self.lenient_haproxy = free_port(), free_port()
        self.log = Log(folder / "log" / "maillog")
        self._certificate = certificates.server
        self._dovecot = dovecot
        self._start()

    def wait_until_delivered(self, queue_id: str) -> None:
        """Wait until the mail with this queue id is in its mailbox."""
        self.log.wait_for(rf"{queue_id}: to=<.*status=sent", seconds=30)

    def stop(self) -> None:
        """Stop the server."""
        self._daemon.stop()

    def _start(self) -> None:
        postconf = program("postconf")
        if os.geteuid() != 0:
            unavailable("Postfix can only be started by root")
        self._make_folders()
        self._write_files()
        daemons = subprocess.run(
            [postconf, "-dh", "daemon_directory"], capture_output=True, text=True, check=True
        )
        master = str(Path(daemons.stdout.strip(), "master"))
        self._daemon = Daemon(
            [*GUARDED, master, "-c", str(self.folder / "etc"), "-s"], self.folder / "output"
        )
        self._daemon.wait_until_accepting((LOOPBACK, port) for port in self._ports.values())

    @property
    def _ports(self) -> dict[str, int]:
        """The ports by their names in ``MASTER``."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}

    def _make_folders(self) -> None:
        for name in ("etc", "log", "queue", "queue/pid"):
            (self.folder / name).mkdir()
        for name in ("data", *(f"queue/{queue}" for queue in QUEUES)):
            (self.folder / name).mkdir(mode=0o700)
            shutil.chown(self.folder / name, "postfix")
        for name, mode in (("maildrop", 0o730), ("public", 0o710)):
            folder = self.folder / "queue" / name
            folder.mkdir()
            shutil.chown(folder, "postfix", "postdrop")
            folder.chmod(mode)

    def _write_files(self) -> None:
        owner = pwd.getpwnam(MAIL_USER)
        etc = self.folder / "etc"
        (etc / "mailboxes").write_text("".join(f"{a.address} {a.address}/\n" for a in ACCOUNTS))
        (etc / "main.cf").write_text(
            MAIN.format(
                folder=self.folder,
                domains=", ".join(DOMAINS),
                mail=self._dovecot.mail,
                uid=owner.pw_uid,
                gid=owner.pw_gid,
                auth_socket=self._dovecot.auth_socket,
                certificate=self._certificate.certificate,
                key=self._certificate.key,
            )
        )
        (etc / "master.cf").write_text(MASTER.format(**self._ports))
