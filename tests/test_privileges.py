"""The user of children, and the rights that they give up."""

import subprocess
import sys

import pytest

from geomail.privileges import CannotStart, look_up_account


@pytest.mark.parametrize("user", ["nobody-knows", "root:nobody-knows", "", "a\0b"])
def test_an_unknown_user_or_group(user: str) -> None:
    with pytest.raises(CannotStart, match="no such user or group"):
        look_up_account(user)


def test_a_group_of_its_own() -> None:
    account = look_up_account("root:daemon")

    assert (account.uid, account.gid) == (0, 1)


LOOKED_INTO = """
import ctypes
from geomail.privileges import become, forbid_inspection
libc = ctypes.CDLL(None)
libc.prctl(4, 1, 0, 0, 0)
{how}
print(libc.prctl(3, 0, 0, 0, 0), libc.prctl(39, 0, 0, 0, 0))
"""


@pytest.mark.parametrize(
    ("how", "said"), [("pass", "1 0"), ("forbid_inspection()", "0 0"), ("become(None)", "0 1")]
)
def test_forbidding_inspection(how: str, said: str) -> None:
    """The two numbers are PR_GET_DUMPABLE and PR_GET_NO_NEW_PRIVS."""
    script = LOOKED_INTO.format(how=how)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == said.split()
