"""The people who have a mailbox on the tests' mail servers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """Somebody's address, which is the user name, and password."""

    address: str
    password: str

    @property
    def domain(self) -> str:
        """What stands behind the ``@``."""
        return self.address.partition("@")[2]


ALICE = Account("alice@example.test", "correct horse")
BOB = Account("bob@example.test", 'q"uo\\te {3+} %40:;= x')
CAROL = Account("carol@other.test", "carol's own")
DAVE = Account("dave@other.test", "pässwörd€")
ACCOUNTS = (ALICE, BOB, CAROL, DAVE)
DOMAINS = tuple(sorted({account.domain for account in ACCOUNTS}))
