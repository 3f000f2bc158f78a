"""The dialogues of the three protocols: with clients before the relay, and with fresh backends.

``base`` has the faces, ``dialogue`` what the protocols share, ``sasl`` the
mechanisms, ``proxy_header`` the PROXY protocol. Each protocol is a module or a
folder with a frontend and a ``handshake``; a new one is one more entry here.
"""

from __future__ import annotations

from geomail.protocols.base import Protocol
from geomail.protocols.imap import ImapProtocol
from geomail.protocols.pop3 import Pop3Protocol
from geomail.protocols.smtp import SmtpProtocol

#: By the value of the ``protocol`` option.
PROTOCOLS: dict[str, type[Protocol]] = {
    protocol.name: protocol for protocol in (SmtpProtocol, ImapProtocol, Pop3Protocol)
}
