"""Commands of clients before their login, right and wrong, for both proxies: alone and in any order.

Commands that the two answer differently are not here but in ``corpus/differences.txt``.
"""

import random
import re
from collections.abc import Iterator

from tests.twin.proxies import Way

#: Lines without their line ends; backslashes are Python's escapes.
COMMANDS: dict[str, tuple[str, ...]] = {
    "smtp": (
        *("EHLO me", "HELO me", "EHLO", "HELO", "ehlo  me ", " EHLO me", "", "EHLO \xe9"),
        *("NOOP", "NOOP x y", "NOOP\r", "NO\tOP", "NOOP\tx", "NOOPS", "NOO", "RSET", "RSET x", "QUIT x"),
        *("VRFY x", "EXPN", "HELP", "HELP x", "DATA", "XCLIENT a", "ETRN", "BDAT 1", "B" * 50),
        *("MAIL", "MAIL FROM:<a>", "MAIL   FROM:<a>  B=c ", "MAILX", "RCPT", "RCPT TO:<b>", "RCPT\tTO:<b>"),
        *("MAIL a b c d e f g h i j", "MAIL a b c d e f g h i j k", "MAIL a b c d e f g h i j k l"),
        *("AUTH", "AUTH PLAIN", "AUTH PLAIN x y", "auth plain !", "AUTH PLAIN AA==", "AUTH PLAIN AHU="),
        *("AUTH PLAIN =", "AUTH PLAIN AHUAcA", "AUTH PLAIN AHUAcA==x", "AUTH PLAIN AHUAc", "AUTH NTLM"),
        *("AUTH LOGIN", "AUTH LOGIN =", "AUTH LOGIN a b", "AUTH CRAM-MD5", "AUTH CRAM-MD5 x"),
        *("AUTH EXTERNAL", "*", "dQ=="),
    ),
    "pop3": (
        *("USER u", "USER", "USER u v ", "user u", "PASS p", "PASS", "PASS p q", "PASS \xe9"),
        *("APOP u d", "APOP u", "APOP", "APOP a b c", "APOP a b c d", "CAPA", "CAPA x", "capa"),
        *("NOOP", "NOOP x", "NOOP\r", " NOOP", "NO", "NOOPX", "QUITX", "STAT", "LIST", "RETR 1", "", "X"),
        *("AUTH", "AUTH PLAIN", "AUTH PLAIN x y", "AUTH PLAIN x y z w", "AUTH PLAIN AHUAcA=="),
        *("AUTH LOGIN", "AUTH LOGIN dQ==", "AUTH NTLM", "AUTH CRAM-MD5", "AUTH CRAM-MD5 x", "*", "dQ==", "="),
    ),
    "imap": (
        *("a NOOP", "a NOOP x", "a noop", "NOOP", "a  NOOP", "a NOOP\r", "a NO\tOP", "a NOOP (x)"),
        *("a CAPABILITY", "a CAPABILITY x", "a SELECT x", "a LOGOUTX", "a", "a ", "", "*", "+"),
        *("B" * 32 + " NOOP", "a+ NOOP", "a.b-c_D NOOP", "a IDLE {5+}", "x IDLE +}"),
        *("a LOGIN", "a LOGIN u", "a LOGIN u p", 'a LOGIN "" p', 'a LOGIN u ""', "a LOGIN u p q"),
        *("a LOGIN u p q r", 'a LOGIN "u" "p"', 'a LOGIN "u""p"', 'a LOGIN u"x y', "a LOGIN \xe9 p"),
        *('a LOGIN "u\\"x" "p\\\\"', "a LOGIN {1+}\r\nu {1+}\r\np", "a LOGIN {1}\r\nu {1}\r\np"),
        *("a LOGIN {x}", "a LOGIN {1", "a LOGIN {1+", "a NOOP {2+}\r\nxx", "a NOOP {2}\r\nxx"),
        *("a AUTHENTICATE", "a AUTHENTICATE PLAIN", "a AUTHENTICATE PLAIN AHUAcA==", "a AUTHENTICATE NTLM"),
        *("a AUTHENTICATE LOGIN dQ==", "a AUTHENTICATE CRAM-MD5", "a AUTHENTICATE PLAIN x y"),
        *("dQ==", "=", "AHUAcA=="),
    ),
}
WAYS: dict[str, tuple[Way, ...]] = {
    "smtp": (
        Way("smtp"),
        Way("smtp", "smtp_auth none;"),
        Way("smtp", "smtp_auth plain login none cram-md5; max_errors 2;"),
        Way("smtp", 'starttls only; smtp_capabilities "SIZE 5" DSN;'),
        Way("smtp", "starttls on; max_errors 1; smtp_auth external cram-md5;"),
    ),
    "pop3": (
        Way("pop3"),
        Way("pop3", "pop3_auth apop cram-md5; max_errors 1;"),
        Way("pop3", "starttls only; pop3_capabilities USER X;"),
        Way("pop3", "starttls on; pop3_auth plain external;"),
    ),
    "imap": (
        Way("imap"),
        Way("imap", "imap_auth plain login cram-md5;"),
        Way("imap", "starttls only; imap_capabilities IMAP4rev1;"),
        Way("imap", "starttls on; max_errors 1;"),
    ),
}
#: nginx's words by geomail's, where they differ; differences.txt says why.
_REWORDED = {
    "504 5.5.4 Unrecognized authentication type": "500 5.5.1 Invalid command",
    "501 5.7.0 Authentication cancelled": "500 5.5.1 Invalid command",
    "-ERR Unsupported authentication mechanism": "-ERR invalid command",
    "-ERR Authentication cancelled": "-ERR invalid command",
}
_IMAP_BAD = re.compile(
    r"\S+ (BAD invalid command|NO Unsupported authentication mechanism|BAD Authentication cancelled)"
)
#: Sent again for each answer that an earlier command may still wait for.
_GOODBYES = {"smtp": "QUIT", "pop3": "QUIT", "imap": "z LOGOUT"}


def said(protocol: str, commands: tuple[str, ...]) -> bytes:
    """Return the commands as one piece, with goodbyes at the end."""
    lines = (*commands, *3 * [_GOODBYES[protocol]], "")
    return "\r\n".join(lines).encode("latin-1")


def in_nginx_words(lines: list[str]) -> list[str]:
    """Return the lines without what the two word differently: IMAP's goodbyes, and the tags of its BAD."""
    reworded = [_REWORDED.get(line, line) for line in lines if not line.startswith("* BYE")]
    return [_IMAP_BAD.sub("BAD invalid command", line) for line in reworded]


def in_any_order(protocol: str, count: int, seed: int) -> Iterator[tuple[str, ...]]:
    """Yield some of the many orders, without the orders that are known to make a difference."""
    chance = random.Random(seed)
    while count:
        script = tuple(chance.choices(COMMANDS[protocol], k=chance.randint(2, 4)))
        if not _makes_a_difference(" ".join(script)):
            yield script
            count -= 1


def _makes_a_difference(script: str) -> bool:
    """Tell whether a SASL response may be a literal, a quote, or APOP, which is base64 for NUL."""
    return ("AUTHENTICATE" in script and bool(set('{"') & set(script))) or (
        "AUTH LOGIN" in script and "APOP" in script
    )
