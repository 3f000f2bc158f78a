"""The dialogues of the toy protocol.

A server greets with ``HI``. A client says ``IAM user password``, and the server answers ``YES`` or ``NO
reason``. ``SECURE`` begins TLS, ``BYE`` is answered by ``BYE``.
"""

from collections.abc import Sequence

from geomail.conversation import SECRET, Conversation
from geomail.errors import Farewell, SessionError
from geomail.parties import Client, Login, Password, Refusal
from geomail.protocols.base import HandshakeOptions, ImaginedBackend, Protocol
from geomail.protocols.dialogue import BackendDialogue, ClientDialogue
from tests.toy.facts import TOY

LONGEST_LINE = 1000


def shown(line: bytes) -> bytes:
    """Hide the password of a login."""
    words = line.split(b" ")
    return b" ".join([*words[:2], SECRET]) if len(words) > 2 else line


class ToyFrontend(ClientDialogue):
    """One client's dialogue."""

    __slots__ = ()

    verbs = frozenset((b"IAM", b"SECURE", b"BYE"))

    def greet(self) -> None:
        self.conversation.send_line(b"HI")

    def login(self) -> Login | None:
        while True:
            line = self.conversation.read_line(LONGEST_LINE, shown)
            match line.split(b" "):
                case [b"IAM", user, password] if not self.must_start_tls:
                    self.count_command()
                    return Login(Password(user, password))
                case [b"SECURE"] if self.may_start_tls:
                    self.conversation.send_line(b"YES")
                    self.conversation.start_tls()
                case [b"BYE"]:
                    self.conversation.send_line(b"BYE")
                    return None
                case _:
                    self.reject(line)

    def refuse(self, refusal: Refusal) -> None:
        self.conversation.send_lines(refusal.reply or [b"NO " + (refusal.text or b"not you")])

    def farewell(self, error: SessionError, words: tuple[bytes, ...] = ()) -> None:
        if error.farewell is not Farewell.NOTHING:
            self.conversation.send_line(b"BYE")

    def answer_invalid(self) -> None:
        self.conversation.send_line(b"NO such command")


class ImaginedToyBackend(ImaginedBackend):
    """A backend that says YES."""

    greeting = b"HI"

    def answer(self, line: bytes) -> list[bytes]:
        return [b"YES"]


class ToyProtocol(Protocol):
    """The protocol of a server with ``protocol = "toy"``."""

    facts = TOY

    def frontend(self, conversation: Conversation, client: Client) -> ToyFrontend:
        name = self.server.server_name.encode()
        return ToyFrontend(conversation, self.server, name, LONGEST_LINE)

    def handshake(
        self, backend: Conversation, login: Login, client: Client, options: HandshakeOptions
    ) -> tuple[bytes, ...]:
        with BackendDialogue(backend) as dialogue:
            dialogue.open(client, options)
            dialogue.hear([], "HI")
            password = dialogue.require_password(login.credentials, "IAM")
            line = b"IAM " + password.user + b" " + password.password
            dialogue.say("IAM", line, "the only login that there is", shown=shown(line))
            reply: list[bytes] = []
            if dialogue.hear(reply, "YES") != b"YES":
                raise dialogue.make_refused(reply, credentials=True)
            return tuple(reply)

    @staticmethod
    def imagine_backend(offers: Sequence[str]) -> ImaginedToyBackend:
        return ImaginedToyBackend()
