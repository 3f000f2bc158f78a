#!/usr/bin/env python3
"""An auth service for geomail (or nginx) in plain Python, to start your own from.

Run it with ``python3 auth_service.py 9000``, and look at its answers:

    geomail check-auth -c auth_http.toml --user alice@example.org      (password: wonderland)

Each login is one GET request. The question is in its headers, the answer in the headers of
the response. geomail ignores the HTTP status and the body. geomail-auth-http(7) describes
all headers.
"""

import hashlib
import hmac
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote_to_bytes

#: Salt and hash of each user's password, in hexadecimal; hash_password() makes the hash.
USERS = {
    "alice@example.org": (
        "5f9fa0b6e4d8a1c3",
        "7db2e1d14eb0f25a5209cb2f11953b56715754954157aa97a220455d1a8e25b1"
        "2dfdfb33512aae97e8f339be53a02ce9319bb38fee6db634f8fbaed25b1d4fc4",
    )
}
UNKNOWN_USER = ("00", "")
#: The mail server of each protocol: an IP address (nginx does not accept names) and a port.
BACKENDS = {"smtp": ("127.0.0.1", 10025), "imap": ("127.0.0.1", 10143), "pop3": ("127.0.0.1", 10110)}
DOMAINS = {"example.org"}
MOST_ATTEMPTS = 10


def hash_password(password: str, salt: str) -> str:
    """Hash a password; slowly, so that a stolen list of hashes is of little use."""
    return hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex()


def verify(user: str, password: str) -> bool:
    """Tell whether this is the user's password; unknown users take as long as others."""
    salt, expected = USERS.get(user, UNKNOWN_USER)
    return hmac.compare_digest(hash_password(password, salt), expected)


def decide(asked: dict[str, str]) -> dict[str, str]:
    """Return the headers of the answer to a question's headers."""
    if asked["Auth-Method"] == "none":  # smtp_auth none: mail from every client, but only to our own domains
        domain = asked["Auth-SMTP-To"].rpartition("@")[2].partition(">")[0].lower()
        if domain not in DOMAINS:
            return {"Auth-Status": "Relay access denied", "Auth-Error-Code": "554 5.7.1", "Auth-Wait": "1"}
    elif asked["Auth-Method"] != "plain":  # apop and cram-md5 need passwords that are not hashed
        return {"Auth-Status": "Method not supported"}
    elif not verify(asked["Auth-User"], asked["Auth-Pass"]):
        again = int(asked["Auth-Login-Attempt"]) < MOST_ATTEMPTS  # without Auth-Wait the session is closed
        return {"Auth-Status": "Invalid login or password", **({"Auth-Wait": "3"} if again else {})}
    host, port = BACKENDS[asked["Auth-Protocol"]]
    return {"Auth-Status": "OK", "Auth-Server": host, "Auth-Port": str(port)}


def unescape(value: str) -> str:
    """Decode a header: users and passwords have %XX in them, and are in UTF-8."""
    return unquote_to_bytes(value.encode("latin-1")).decode(errors="replace")


class Handler(BaseHTTPRequestHandler):
    """Answers the questions of one connection."""

    protocol_version = "HTTP/1.1"  # keeps the connection, so that a login does not need a new one
    timeout = 90

    def do_GET(self) -> None:
        """Answer one question."""
        self.send_response(200)
        for name, value in decide({name: unescape(value) for name, value in self.headers.items()}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
