"""TLS as a filter between bytes: contexts, and one channel per secured connection.

A channel does no I/O (two memory BIOs); :class:`geomail.net.wire.Wire` moves
the bytes. That keeps one way to wait for a socket, lets two greenlets read and
write one secured connection, and costs half of what ``SSLSocket`` does.
"""

from __future__ import annotations

import errno
import hashlib
import ssl
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from sys import intern
from typing import Any

from geomail.errors import Side, TlsFailed, TlsSettingError
from geomail.net import tls_settings
from geomail.net.openssl import contexts, peers
from geomail.net.openssl.binding import available
from geomail.net.openssl.buffers import give_back_buffers, put_close_notify
from geomail.net.openssl.contexts import ServerContext
from geomail.net.openssl.sessions import forget_session, prepare_to_resume
from geomail.parties import ClientCertificate, TlsDetails, VerifyClient

#: The most that one TLS record carries.
_PLAINTEXT = 16384
#: Room for one record with its frame.
RECORD = _PLAINTEXT + 512
#: Answers to the peer's key updates that may wait for our next write.
_MOST_UNSENT = 16384

_VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}


def set_protocols(context: ssl.SSLContext, protocols: Iterable[str]) -> None:
    """Allow exactly these ``ssl_protocols`` (names as nginx writes them).

    OpenSSL takes a range; versions inside it that are not named are switched off.
    """
    names = set(protocols)
    allowed = [version for name, version in _VERSIONS.items() if name in names]
    with warnings.catch_warnings():  # old versions are the operator's choice; check-config warns of them
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version, context.maximum_version = allowed[0], allowed[-1]
        for name, version in _VERSIONS.items():
            if allowed[0] < version < allowed[-1] and name not in names:
                context.options |= getattr(ssl, "OP_NO_" + name.replace(".", "_"))


def server_context(
    *,
    certificates: Iterable[tuple[str, str]],
    protocols: Iterable[str],
    ciphers: str,
    alpn: str,
    password_file: str | None = None,
    prefer_server_ciphers: bool = False,
    dhparam: str | None = None,
    ecdh_curve: str = "auto",
    session_cache: str = "none",
    session_timeout: float | None = None,
    session_tickets: bool = True,
    session_ticket_key: Sequence[str] = (),
    verify_client: VerifyClient = "off",
    verify_depth: int | None = None,
    client_certificate: str | None = None,
    trusted_certificate: str | None = None,
    crl: str | None = None,
    conf_command: Sequence[tuple[str, str]] = (),
) -> ssl.SSLContext:
    """The context of a listener, by nginx's ``ssl_*`` directives; None leaves a thing to OpenSSL.

    ``alpn`` is the one protocol that is spoken. No handshake fails by a client's
    certificate: ask the channel for it, and :func:`geomail.certificates.verdict`
    what to make of it. Workers that are forked afterwards resume each other's
    sessions: by tickets, and without them from a ``shared`` cache (a ``builtin``
    one is each worker's own).

    Raises TlsSettingError, which names the directive. Where libssl is out of
    reach (:func:`geomail.net.openssl.binding.available`), that is also what
    becomes of a setting that needs it, ``session_timeout`` is OpenSSL's, and a
    client with another protocol in its ALPN is served.
    """
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 1
    _set_known_protocols(context, protocols)
    tls_settings.set_ciphers(context, ciphers, prefer_server_ciphers)
    tls_settings.load_certificates(context, certificates, password_file)
    if dhparam is not None:
        tls_settings.load_dhparam(context, dhparam)
    if not available():
        tls_settings.refuse_all(
            {
                "ssl_ecdh_curve": ecdh_curve != "auto",
                "ssl_session_cache": session_cache != "none",
                "ssl_session_tickets": not session_tickets,
                "ssl_session_ticket_key": bool(session_ticket_key),
                "ssl_verify_client": verify_client != "off",
                "ssl_crl": crl is not None,
                "ssl_conf_command": bool(conf_command),
            }
        )
        context.set_alpn_protocols([alpn])
        return context
    contexts.choose_protocol(context, alpn)
    contexts.send_no_foreign_chain(context)
    if ecdh_curve != "auto":
        contexts.set_ecdh_curve(context, ecdh_curve)
    basis = tls_settings.verify_clients(
        context, verify_client, verify_depth, client_certificate, trusted_certificate, crl
    )
    tls_settings.resume_sessions(context, session_cache, session_timeout, session_tickets, session_ticket_key)
    contexts.run_conf_commands(context, conf_command)
    if context.options & ssl.OP_NO_TICKET and session_cache in ("off", "none"):
        context.num_tickets = 0  # no session is kept that such a ticket could name
    if session_ticket_key or context.shared_sessions is not None:
        context.session_id_context = _digest([*basis, alpn.encode(), *contexts.certificates(context)])
    return context


def _set_known_protocols(context: ssl.SSLContext, protocols: Iterable[str]) -> None:
    named = set(protocols)
    if not named & _VERSIONS.keys():
        raise TlsSettingError("ssl_protocols", f"OpenSSL has none of {', '.join(sorted(named))}")
    set_protocols(context, named)


def _digest(parts: Iterable[bytes]) -> bytes:
    """Of parts that cannot run into each other."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def client_context(
    *, ca: str | None, verify: bool, certificate: str | None = None, key: str | None = None
) -> ssl.SSLContext:
    """The context for a backend or an auth service: verified, unless that was turned off by name.

    ``ca`` None trusts the system's authorities. Raises OSError where a file is wrong.
    """
    # not create_default_context: from 3.13 on it refuses authorities that all other versions accept
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        tls_settings.load_system_authorities(context)
    else:
        context.load_verify_locations(ca)
    if certificate is not None:
        context.load_cert_chain(certificate, key, _no_password)
    return context


def _no_password() -> str:
    """OpenSSL would ask at the terminal, and wait."""
    raise OSError(errno.ENOKEY, "the private key is encrypted")


@dataclass(frozen=True, slots=True)
class TlsSide:
    """Which side of TLS a connection is on.

    ``server_name`` is verified on the client's side, the client's certificate,
    by the mode of ``verify_client``, on the server's.
    """

    context: ssl.SSLContext
    server: bool
    server_name: str | None = None
    verify_client: VerifyClient = "off"

    def channel(self, peer: Side) -> TlsChannel:
        """A fresh channel, before its handshake."""
        return TlsChannel(self, peer)


class TlsChannel:
    """One TLS connection between two memory BIOs.

    A BIO keeps the largest size that it ever had, so no more than a record is
    put into one at a time.
    """

    __slots__ = (
        "_described",
        "_ended",
        "_engine",
        "_failure",
        "_incoming",
        "_object",
        "_outgoing",
        "_peer",
        "_waiting",
        "server",
    )

    def __init__(self, side: TlsSide, peer: Side) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = side.context.wrap_bio(
            self._incoming, self._outgoing, server_side=side.server, server_hostname=side.server_name
        )
        if isinstance(side.context, ServerContext):
            prepare_to_resume(self._object, side.context)
        # what does the work behind SSLObject, whose methods add nothing to its own but a call
        self._engine: Any = self._object._sslobj  # type: ignore[attr-defined]
        self._described: tuple[str, str] | None = None
        self._peer: Side = peer
        self._waiting: bytes | memoryview = b""
        self._ended = False
        self._failure: TlsFailed | None = None
        self.server = side.server

    def feed(self, data: bytes) -> None:
        """Take ciphertext from the socket; none means its end."""
        if not data:
            self._ended = True
        elif len(data) <= RECORD:
            self._incoming.write(data)
        else:
            self._waiting = memoryview(data)

    def _pour(self) -> bool:
        """Put the next piece of what waits into the BIO."""
        self._incoming.write(self._waiting[:RECORD])
        self._waiting = self._waiting[RECORD:]
        return True

    @property
    def has_input(self) -> bool:
        """Whether what was fed holds more than was decrypted."""
        return bool(self._incoming.pending or self._engine.pending() or self._waiting)

    def drain(self) -> bytes:
        """Ciphertext for the socket."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def handshake(self) -> bool:
        """Go on with the handshake; true when done. On the server's side, call it with data in hand."""
        try:
            self._engine.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise self._failed(error) from None
        return True

    def decrypt(self, size: int) -> bytes | None:
        """At most ``size`` bytes of what was fed; none at the end; None if that needs more ciphertext.

        Raises TlsFailed on a broken record, once what came before it was returned.
        """
        engine, incoming = self._engine, self._incoming
        pieces: list[bytes] = []
        missing = size
        while missing > 0 and (incoming.pending or engine.pending() or (self._waiting and self._pour())):
            try:
                piece = engine.read(missing if missing < _PLAINTEXT else _PLAINTEXT)
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                self._end(error)
                break
            if not piece:
                self._ended = True
                break
            pieces.append(piece)
            missing -= len(piece)
        if len(pieces) == 1:
            return pieces[0]
        return b"".join(pieces) if pieces else self._nothing()

    def _end(self, error: ssl.SSLError) -> None:
        self._ended = True
        if not isinstance(error, (ssl.SSLZeroReturnError, ssl.SSLEOFError)):
            self._failure = self._failed(error)

    def _nothing(self) -> bytes | None:
        if self._failure is not None:
            raise self._failure
        if self._outgoing.pending > _MOST_UNSENT:
            raise TlsFailed("TLS: key updates without end", blame=self._peer)
        return b"" if self._ended else None

    def encrypt(self, data: bytes) -> bytes:
        """The ciphertext of ``data``, behind whatever was still to be sent."""
        try:
            if 0 < len(data) <= _PLAINTEXT:
                self._engine.write(data)
                return self._outgoing.read()
            view, pieces = memoryview(data), []
            for start in range(0, len(data), _PLAINTEXT):
                self._engine.write(view[start : start + _PLAINTEXT])
                pieces.append(self._outgoing.read())
        except ssl.SSLError as error:
            raise self._failed(error) from None
        return b"".join(pieces)

    def close_notify(self) -> bytes:
        """The ciphertext that tells the peer that nothing more will be sent; reading may go on.

        What was fed and not decrypted before is lost.
        """
        if available():
            put_close_notify(self._object)
        else:
            try:
                self._object.unwrap()
            except ssl.SSLError:
                pass  # the peer's own close_notify is not here yet, or the connection is broken
        return self.drain()

    @property
    def described(self) -> tuple[str, str]:
        """Protocol and cipher, ``("TLSv1.3", "TLS_AES_256_GCM_SHA384")``, after the handshake."""
        if self._described is None:
            cipher = self._object.cipher()
            name = cipher[0] if cipher else ""
            self._described = intern(self._object.version() or ""), intern(name)  # one for all connections
        return self._described

    @property
    def server_name(self) -> str:
        """The host name that a client asked for (SNI), what is no text as escapes; empty if it did not."""
        name = peers.requested_name(self._object) if available() else None
        return (name or b"").decode("utf-8", "backslashreplace")

    @property
    def client_certificate(self) -> ClientCertificate:
        """The client's certificate and what OpenSSL found of it, after the handshake of a server's side."""
        der = self._object.getpeercert(binary_form=True)
        if der is None:
            return ClientCertificate()
        error = peers.verify_result(self._object)
        described = peers.describe(der)
        return ClientCertificate(
            der=der,
            error=error,
            reason=peers.verify_reason(error) if error else "",
            subject=described.subject,
            issuer=described.issuer,
            serial=described.serial,
            fingerprint=hashlib.sha1(der, usedforsecurity=False).hexdigest(),
        )

    @property
    def details(self) -> TlsDetails:
        """What a backend is told of a client's TLS, after the handshake of a server's side."""
        der, alpn = self._object.getpeercert(binary_form=True), self._object.selected_alpn_protocol()
        reach = available()
        version, cipher = self.described
        signature, key = peers.own_certificate(self._object) if reach else ("", "")
        return TlsDetails(
            version=version,
            cipher=cipher,
            server_name=peers.requested_name(self._object) if reach else None,
            alpn=None if alpn is None else alpn.encode("latin-1"),
            certificate="none" if der is None else "session" if self._object.session_reused else "connection",
            verify=1 if der is None else peers.verify_result(self._object),
            common_name=b"" if der is None else peers.describe(der).common_name,
            signature=signature,
            key=key,
        )

    def forget_session(self) -> None:
        """Take the session of a rejected client out of the server's caches, so that it is asked anew."""
        if available():
            forget_session(self._object)

    def give_back_memory(self) -> None:
        """Free what a connection that is silent can do without."""
        if available():
            give_back_buffers(self._object)

    @property
    def keeps_tickets(self) -> bool:
        """Whether what is still to be sent may wait for the next write (TLS 1.3 session tickets)."""
        return self.server and self.described[0] == "TLSv1.3"

    def _failed(self, error: ssl.SSLError) -> TlsFailed:
        if isinstance(error, ssl.SSLCertVerificationError):
            text = f"the certificate was not accepted: {error.verify_message}"
        else:
            text = error.reason.lower().replace("_", " ") if error.reason else str(error)
        return TlsFailed(f"TLS: {text}", blame=self._peer)
