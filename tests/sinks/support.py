"""Events as sessions emit them; a test chooses their names and reasons."""

from typing import Any, TypeVar

from geomail.events import Event, LoginRefused, RelayStarted, Remark, SessionClosed, SessionOpened

E = TypeVar("E", bound=Event)
WHEN = 1_700_000_000.5
STAMP = "2023-11-14T22:13:20.500Z"
SESSION, SERVER, CLIENT, BACKEND = "c0ffee-1", "0.0.0.0:143", "192.0.2.7", "192.0.2.1:143 (main)"
COMMON = (WHEN, SESSION, SERVER, "imap", CLIENT)


def opened() -> SessionOpened:
    return SessionOpened(*COMMON)


def started(user: str, **differing: object) -> RelayStarted:
    """Return a login at the usual backend in the usual times, with the ``differing`` fields."""
    return _changed(RelayStarted(*COMMON, user, "plain", BACKEND, 0.0011, 0.0022, 0.0033), differing)


def _changed(event: E, differing: dict[str, object]) -> E:
    for name, value in differing.items():
        setattr(event, name, value)
    return event


def refused(user: str, reason: str = "no such user", side: str = "auth") -> LoginRefused:
    return LoginRefused(*COMMON, user, "plain", BACKEND if side == "backend" else "", reason, side)


def remarked(user: str, text: str = "no PTR record") -> Remark:
    return Remark(*COMMON, user, text)


#: The end of a session that went well.
WENT_WELL: dict[str, Any] = {
    "client_port": 40000,
    "local": "198.51.100.1",
    "local_port": 143,
    "listener": "0.0.0.0:143",
    "tls": "TLSv1.3 TLS_AES_256_GCM_SHA384",
    "sni": "",
    "method": "plain",
    "backend": BACKEND,
    "outcome": "done",
    "side": "client",
    "step": "",
    "relayed": True,
    "refusals": 0,
    "duration": 12.3456,
    "auth_time": 0.0011,
    "connect_time": 0.0022,
    "login_time": 0.0033,
    "bytes_in": 100,
    "bytes_out": 2000,
}


def closed(user: str = "", reason: str = "", **differing: object) -> SessionClosed:
    """Return the end of a session that went well, with the ``differing`` fields."""
    event = SessionClosed(WHEN, SESSION)
    common = {"server": SERVER, "protocol": "imap", "client": CLIENT, "user": user, "reason": reason}
    return _changed(event, {**common, **WENT_WELL, **differing})


def every_kind(user: str, text: str) -> dict[str, Event]:
    """Return one event of each kind and shape, in which ``user`` and ``text`` come from the client."""
    return {
        "opened": opened(),
        "started": started(user),
        "refused": refused(user, text),
        "refused by the backend": refused(user, text, "backend"),
        "remark": remarked(user, text),
        "closed": closed(user, text),
        "closed, refused": closed(user, text, relayed=False, refusals=3, outcome="refused"),
        "closed, failed": closed(user, text, relayed=False, outcome="auth_error", side="auth"),
    }
