"""The users with a mailbox on the tests' mail servers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Account:
    """The address of a user, which is the user name too, and the password."""

    address: str
    password: str

    @property
    def domain(self) -> str:
        """The part after the ``@``."""
        return self.address.partition("@")[2]


ALICE = Account("alice@example.test", "correct horse")
BOB = Account("bob@example.test", 'q"uo\\te {3+} %40:;= x')
CAROL = Account("carol@other.test", "carol's own")
DAVE = Account("dave@other.test", "pässwörd€")
SPACE = Account("space@example.test", "  begins with spaces")
ACCOUNTS = (ALICE, BOB, CAROL, DAVE, SPACE)
DOMAINS = tuple(sorted({account.domain for account in ACCOUNTS}))
