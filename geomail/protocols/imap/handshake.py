"""IMAP with a fresh backend, until the client is logged in."""

from __future__ import annotations

from collections.abc import Sequence

from geomail.conversation import SECRET, Conversation
from geomail.errors import BackendRefused, PeerGone
from geomail.parties import Client, Login, Password
from geomail.protocols.base import HandshakeOptions
from geomail.protocols.dialogue import BackendDialogue

#: The tag of geomail's own commands, which come before the client's LOGIN.
OWN_TAG = b"geomail "
_TAG = OWN_TAG.rstrip()
#: Response codes (RFC 5530) of refusals that ask to try again later.
_TEMPORARY = (b"[UNAVAILABLE]", b"[INUSE]", b"[LIMIT]", b"[SERVERBUG]")
#: Response codes of refusals that are not about user and password.
_NOT_CREDENTIALS = (b"[PRIVACYREQUIRED]", b"[SERVERBUG]", b"[CLIENTBUG]")
#: Response codes of refusals that are surely about user and password.
_CREDENTIALS = (b"[AUTHENTICATIONFAILED]", b"[AUTHORIZATIONFAILED]", b"[EXPIRED]")


def handshake(
    backend: Conversation, login: Login, client: Client, options: HandshakeOptions
) -> tuple[bytes, ...]:
    """Log the client in to a fresh IMAP backend, under the client's own tag.

    Return the backend's tagged OK, after its untagged responses. Unlike nginx,
    geomail sends literals without waiting if the greeting offers LITERAL+.
    """
    with BackendDialogue(backend, (OWN_TAG, login.tag + b" ")) as dialogue:
        dialogue.open(client, options)
        known = _expect_greeting(dialogue)
        if options.tls == "starttls":
            dialogue.say("STARTTLS", _TAG + b" STARTTLS", "backend tls = starttls")
            _expect(dialogue, _TAG)
            backend.start_tls("backend tls = starttls")
            known = ()  # RFC 9051 6.2.1: an attacker may have sent the greeting, before TLS
        password = dialogue.require_password(login.credentials, "LOGIN")
        if client.session:
            known = known or _ask_capabilities(dialogue)
            if b"ID" in known:
                _tell_session(dialogue, client.session)
        return _log_in(dialogue, login.tag, password, at_once=b"LITERAL+" in known)


def _expect_greeting(dialogue: BackendDialogue) -> Sequence[bytes]:
    """Read the greeting, and return the capabilities in it, if any."""
    lines: list[bytes] = []
    mark, kind, text = _split(dialogue.hear(lines, "* OK"))
    if mark == b"*" and kind == b"OK":
        code = text.partition(b"]")[0].upper()
        return code.split()[1:] if code.startswith(b"[CAPABILITY ") else ()
    if mark == b"*" and kind in (b"BYE", b"PREAUTH"):
        raise dialogue.make_refused(lines, temporary=text.upper().startswith(_TEMPORARY))
    raise dialogue.make_garbage(lines[0])


def _ask_capabilities(dialogue: BackendDialogue) -> Sequence[bytes]:
    dialogue.say("CAPABILITY", _TAG + b" CAPABILITY", "pass_session_id = on, if the backend takes ID")
    lines = [line.upper().split() for line in _expect(dialogue, _TAG)]
    return [word for words in lines if words[1:2] == [b"CAPABILITY"] for word in words[2:]]


def _tell_session(dialogue: BackendDialogue, session: bytes) -> None:
    """Send the session's id as Dovecot's proxies do; go on if the backend does not take it."""
    dialogue.say("ID", b'%b ID ("x-session-id" "%b")' % (_TAG, session), "pass_session_id = on")
    try:
        _expect(dialogue, _TAG)
    except BackendRefused as refused:
        if not refused.reply[-1].startswith(_TAG):
            raise
        dialogue.backend.remark("the backend offers ID and refuses x-session-id")


def _log_in(dialogue: BackendDialogue, tag: bytes, login: Password, *, at_once: bool) -> tuple[bytes, ...]:
    """Send LOGIN with literals; ``at_once`` if the backend need not ask for them (LITERAL+, RFC 7888)."""
    plus, why = (b"+", "; the backend offers LITERAL+") if at_once else (b"", ", as nginx does")
    because = f"IMAP LOGIN by literals{why}"
    command = b"%b LOGIN {%d%b}" % (tag, len(login.user), plus)
    user = b"%b {%d%b}" % (login.user, len(login.password), plus)
    if at_once:
        dialogue.say_at_once("LOGIN", (command, user, login.password), because, (command, user, SECRET))
        return _expect(dialogue, tag)
    dialogue.say("LOGIN", command, because)
    _expect(dialogue, tag, go_ahead=True)
    dialogue.say("LOGIN", user, because)
    _expect(dialogue, tag, go_ahead=True)
    dialogue.say("LOGIN", login.password, because, shown=SECRET)
    return _expect(dialogue, tag)


def _expect(dialogue: BackendDialogue, tag: bytes, *, go_ahead: bool = False) -> tuple[bytes, ...]:
    """Read up to the tagged OK, or up to the ``+`` that asks to ``go_ahead``; return all lines."""
    expected = "+" if go_ahead else "tagged OK"
    lines: list[bytes] = []
    try:
        mark, kind, text = _split(dialogue.hear(lines, expected))
        while mark == b"*" and kind != b"BYE":
            mark, kind, text = _split(dialogue.hear(lines, expected))
    except PeerGone:
        _look_for_refusal(dialogue, lines, tag)
        raise
    if mark == b"*":
        _look_for_refusal(dialogue, lines, tag)
    if (mark == b"+") if go_ahead else (mark == tag and kind == b"OK"):
        return tuple(lines)
    if (mark == tag and kind in (b"NO", b"BAD")) or mark == b"*":
        raise _make_error(dialogue, lines, kind, text)
    raise dialogue.make_garbage(lines[-1])


def _make_error(
    dialogue: BackendDialogue, lines: Sequence[bytes], kind: bytes, text: bytes
) -> BackendRefused:
    text = text.upper()
    about_login = dialogue.step == "LOGIN" and kind == b"NO"
    return dialogue.make_refused(
        lines,
        credentials=about_login and not text.startswith(_NOT_CREDENTIALS),
        temporary=text.startswith(_TEMPORARY),
        explicit=about_login and text.startswith(_CREDENTIALS),
    )


def _look_for_refusal(dialogue: BackendDialogue, lines: Sequence[bytes], tag: bytes) -> None:
    """Raise BackendRefused if the only answer to a LOGIN is an untagged NO.

    The client waits for a tagged answer, and gets the NO as that.
    """
    for line in lines:
        mark, kind, text = _split(line)
        if dialogue.step == "LOGIN" and mark == b"*" and kind == b"NO":
            raise _make_error(dialogue, (b"%b NO %b" % (tag, text),), kind, text)


def _split(line: bytes) -> tuple[bytes, bytes, bytes]:
    """Split a response into its tag or mark, its kind in upper case, and its text."""
    words = line.split(b" ", 2)
    kind = words[1].upper() if len(words) > 1 else b""
    return words[0], kind, words[2] if len(words) > 2 else b""
