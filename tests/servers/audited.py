"""``geomail`` under a hook that writes down what its processes import and open once they have been started.

python audited.py REPORT ARGUMENTS: a line for each thing, of the master and of the children that it forks;
whatever the master opens is not told, as it reads its files at every reload.
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
    """The master has started its first child."""
    global has_forked
    has_forked = True


def tell(event: str, arguments: tuple[object, ...]) -> None:
    """Write down what is too late; what is open already has a number, and no name."""
    if not arguments or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    child = os.getpid() != MASTER
    if (event == "import" and (child or has_forked)) or (event in OPENING and child):
        os.write(REPORT, f"{'child' if child else 'master'} {event} {arguments[0]!s}\n".encode())


os.register_at_fork(after_in_parent=note_fork)
sys.addaudithook(tell)
sys.argv[:] = ["geomail", *sys.argv[2:]]
app()
