"""``geomail`` under an audit hook that reports what its processes import and open after their start.

python audited.py REPORT ARGUMENTS: the report has a line for each import and each file, of the master and of
its children. It leaves out files that the master opens, because the master reads its files at every reload.
"""

import os
import sys

from geomail_cli.main import app

REPORT = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
MASTER = os.getpid()
OPENING = {
    "open",
    "os.listdir",
    "os.scandir",
    "ctypes.dlopen",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
}
has_forked = False


def note_fork() -> None:
    """Note that the master has started its first child."""
    global has_forked
    has_forked = True


def tell(event: str, arguments: tuple[object, ...]) -> None:
    """Report an import or a file that comes too late; only a file that is not open yet has a name here."""
    if not arguments or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    child = os.getpid() != MASTER
    if (event == "import" and (child or has_forked)) or (event in OPENING and child):
        os.write(REPORT, f"{'child' if child else 'master'} {event} {arguments[0]!s}\n".encode())


os.register_at_fork(after_in_parent=note_fork)
sys.addaudithook(tell)
sys.argv[:] = ["geomail", *sys.argv[2:]]
app()
