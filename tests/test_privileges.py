"""Who children are, and what they can no longer do."""

import pytest

from geomail.privileges import CannotStart, account_of


@pytest.mark.parametrize("user", ["nobody-knows", "root:nobody-knows", "", "a\0b"])
def test_nobody_knows_them(user: str) -> None:
    with pytest.raises(CannotStart, match="no such user or group"):
        account_of(user)


def test_a_group_of_ones_own() -> None:
    account = account_of("root:daemon")

    assert (account.uid, account.gid) == (0, 1)
