"""Resuming TLS sessions: ``ssl_session_cache``, ``ssl_session_timeout``, ``ssl_session_ticket_key``."""

from __future__ import annotations

import functools
import mmap
import re
import ssl
import time
from collections.abc import Callable, Sequence
from ctypes import (
    Structure,
    addressof,
    byref,
    c_char,
    c_char_p,
    c_size_t,
    c_uint,
    c_void_p,
    create_string_buffer,
    string_at,
)

from geomail.errors import TlsSettingError
from geomail.net.openssl.binding import (
    GetSessionCallback,
    NewSessionCallback,
    TicketCallback,
    get_connection_pointer,
    get_context_pointer,
    libssl,
)
from geomail.net.openssl.contexts import ServerContext
from geomail.net.session_cache import LARGEST, SessionCache, get_shared_cache
from geomail.net.ticket_keys import ChangingKeys, TicketKey

_CTRL_CACHE_SIZE, _CTRL_CACHE_MODE, _CTRL_TICKET_KEYS = 42, 44, 59
_CACHE_OFF, _CACHE_SERVER, _CACHE_NO_INTERNAL = 0x0, 0x2, 0x300
_LONGEST_ID = 32
_SMALLEST_CACHE = 8 * mmap.PAGESIZE
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20}
_BUILTIN = re.compile(r"builtin(?::([1-9]\d{0,8}))?")
_SHARED = re.compile(r"shared:([^:\s]+):(\d{1,12})([kKmM]?)")

_TLS_1_3 = 0x304
_NO_TICKET = int(ssl.OP_NO_TICKET)  # as a Flag, it would cost more than all other work for a session
_Name = c_char * 16
_UTF8_STRING, _OCTET_STRING = 4, 5


# -- the cache ------------------------------------------------------------------------------------


def set_session_cache(context: ServerContext, words: str) -> None:
    """Apply ``ssl_session_cache``: ``off``, ``none``, ``builtin[:N]``, ``shared:NAME:SIZE``, or the last two.

    ``off`` and ``none`` keep no session (``none`` pretends to, for clients that
    fail otherwise); tickets still resume sessions, unless tickets are off.
    ``builtin`` is one cache in each process; ``shared`` is one cache for all
    processes that are forked later.
    """
    pointer = get_context_pointer(context)
    mode = _CACHE_SERVER | _CACHE_NO_INTERNAL
    for word in words.split() or [words]:
        if word in ("off", "none") and words == word:
            mode = mode if word == "none" else _CACHE_OFF
        elif match := _BUILTIN.fullmatch(word):
            mode &= ~_CACHE_NO_INTERNAL
            if match[1]:
                libssl().SSL_CTX_ctrl(pointer, _CTRL_CACHE_SIZE, int(match[1]), None)
        elif (match := _SHARED.fullmatch(word)) and context.shared_sessions is None:
            _share(context, _find_cache(match))
        else:
            raise TlsSettingError("ssl_session_cache", f"invalid session cache {word!r}")
    libssl().SSL_CTX_ctrl(pointer, _CTRL_CACHE_MODE, mode, None)


def set_session_timeout(context: ServerContext, seconds: float) -> None:
    """Apply ``ssl_session_timeout``: the seconds for which a session can be resumed."""
    libssl().SSL_CTX_set_timeout(get_context_pointer(context), int(seconds))


def prepare_to_resume(connection: ssl.SSLObject, context: ServerContext) -> None:
    """Renew ticket keys that are over, and let a connection resume only sessions of contexts like its own.

    Call it before the handshake. The session id context is set on the
    connection: from Python 3.13 on, ``ssl`` overrides that of the context.
    """
    if time.monotonic() >= context.ticket_keys_end:
        _renew_ticket_keys(context)
    value = context.session_id_context
    if not value:
        return
    accepted = libssl().SSL_set_session_id_context(get_connection_pointer(connection), value, len(value))
    assert accepted, "too long"


def forget_session(connection: ssl.SSLObject) -> None:
    """Remove the session of this connection from the caches; a ticket that the client holds stays valid."""
    library, context = libssl(), connection.context
    session = library.SSL_get_session(get_connection_pointer(connection))
    if session:
        library.SSL_CTX_remove_session(get_context_pointer(context), session)
        if isinstance(context, ServerContext) and context.shared_sessions is not None:
            context.shared_sessions.remove(_get_id(session))


def _find_cache(match: re.Match[str]) -> SessionCache:
    size = int(match[2]) * _UNITS[match[3].lower()]
    if size < _SMALLEST_CACHE:
        raise TlsSettingError("ssl_session_cache", f"session cache {match[0]!r} is too small")
    return get_shared_cache(match[1], size)


def _share(context: ServerContext, cache: SessionCache) -> None:
    context.shared_sessions = cache
    keep, find = _make_callbacks(cache)
    pointer = get_context_pointer(context)
    libssl().SSL_CTX_sess_set_new_cb(pointer, keep)
    libssl().SSL_CTX_sess_set_get_cb(pointer, find)


@functools.cache
def _make_callbacks(cache: SessionCache) -> tuple[Callable[..., int], Callable[..., int | None]]:
    library = libssl()

    def keep(connection: int, session: int) -> int:
        if library.SSL_version(connection) == _TLS_1_3 and not (
            library.SSL_get_options(connection) & _NO_TICKET
        ):
            return 0  # the session need not be kept: all of it is in the ticket
        size = library.i2d_SSL_SESSION(session, None)
        if 0 < size <= LARGEST:
            buffer = create_string_buffer(size)
            library.i2d_SSL_SESSION(session, byref(c_void_p(addressof(buffer))))
            cache.put(_get_id(session), buffer.raw)
        return 0  # we keep no reference to the session

    def find(_connection: int, session_id: int, size: int, copy: object) -> int | None:
        copy[0] = 0  # type: ignore[index]  # the session is the caller's
        session = cache.get(string_at(session_id, size)) if 0 < size <= _LONGEST_ID else None
        if session is None:
            return None
        buffer = create_string_buffer(session, len(session))
        found: int | None = library.d2i_SSL_SESSION(None, byref(c_void_p(addressof(buffer))), len(session))
        return found

    return NewSessionCallback(keep), GetSessionCallback(find)


def _get_id(session: int) -> bytes:
    size = c_uint()
    return string_at(libssl().SSL_SESSION_get_id(session, byref(size)), size.value)


# -- keys of tickets ------------------------------------------------------------------------------


class _Param(Structure):
    """OpenSSL's OSSL_PARAM."""

    _fields_ = (
        ("key", c_char_p),
        ("data_type", c_uint),
        ("data", c_void_p),
        ("data_size", c_size_t),
        ("return_size", c_size_t),
    )


def set_session_ticket_keys(context: ServerContext, keys: Sequence[TicketKey]) -> None:
    """Apply ``ssl_session_ticket_key``: the first key makes tickets, all keys open tickets."""
    library, pointer = libssl(), get_context_pointer(context)
    if len(keys) == 1 and len(keys[0].aes) == 32:  # a key like OpenSSL's own: it then needs no callback
        native = keys[0].name + keys[0].hmac + keys[0].aes
        library.SSL_CTX_ctrl(pointer, _CTRL_TICKET_KEYS, len(native), native)
        callback = TicketCallback()
    else:
        callback = TicketCallback(_make_ticket_callback(_Ring(keys)))
    library.SSL_CTX_set_tlsext_ticket_key_evp_cb(pointer, callback)
    context.ticket_callback = callback


def change_session_ticket_keys(context: ServerContext, keys: ChangingKeys) -> None:
    """Make tickets with keys that change; nginx does so from 1.23.2 on, and only with a shared cache."""
    context.changing_keys = keys
    _renew_ticket_keys(context)


def _renew_ticket_keys(context: ServerContext) -> None:
    assert context.changing_keys is not None
    current, context.ticket_keys_end = context.changing_keys.get_current()
    set_session_ticket_keys(context, current)


def _make_ticket_callback(keys: _Ring) -> Callable[..., int]:
    """Make the callback for each ticket; SSL_CTX_set_tlsext_ticket_key_evp_cb(3) lists its results."""
    library = libssl()

    def answer(connection: int, name: int, iv: int, cipher: int, mac: int, making: int) -> int:
        if making:
            key, good = keys.newest, 1
            _Name.from_address(name).raw = key.name
            if library.RAND_bytes(iv, 16) != 1:
                return -1
        else:
            found = keys.by_name.get(_Name.from_address(name).raw)
            if found is None:
                return 0
            key = found
            renewed = key is not keys.newest or library.SSL_version(connection) == _TLS_1_3
            good = 2 if renewed else 1
        ready = library.EVP_CipherInit_ex(cipher, key.cipher, None, key.aes, iv, making)
        return good if ready and library.EVP_MAC_CTX_set_params(mac, key.mac) else -1

    return answer


class _Ring:
    """Keys in the form that OpenSSL takes: the newest makes tickets, all keys open tickets."""

    __slots__ = ("_names", "by_name")

    def __init__(self, keys: Sequence[TicketKey]) -> None:
        self._names = [key.name for key in keys]
        self.by_name = {key.name: _NativeKey(key) for key in reversed(keys)}

    @property
    def newest(self) -> _NativeKey:
        return self.by_name[self._names[0]]


class _NativeKey:
    """A key in the form that OpenSSL takes."""

    __slots__ = ("_hmac", "aes", "cipher", "mac", "name")

    def __init__(self, key: TicketKey) -> None:
        library = libssl()
        self.name = key.name
        self.cipher = library.EVP_aes_256_cbc() if len(key.aes) == 32 else library.EVP_aes_128_cbc()
        self.aes = create_string_buffer(key.aes, len(key.aes))
        self._hmac = create_string_buffer(key.hmac, len(key.hmac)), create_string_buffer(b"SHA256")
        secret, digest = self._hmac
        self.mac = (_Param * 3)(
            _Param(b"key", _OCTET_STRING, addressof(secret), len(secret), 0),
            _Param(b"digest", _UTF8_STRING, addressof(digest), len(digest) - 1, 0),
            _Param(None, 0, None, 0, 0),
        )
