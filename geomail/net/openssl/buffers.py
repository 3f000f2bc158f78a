"""The memory of a connection, and its close_notify: ``ssl`` offers access to neither."""

from __future__ import annotations

import ssl

from geomail.net.openssl.binding import clear_errors, get_connection_pointer, libssl

_CTRL_PENDING, _SET_BUF_MEM = 10, 114
_CLOSE = 1


def give_back_buffers(connection: ssl.SSLObject) -> None:
    """Give the memory BIOs of a connection fresh, small buffers if they are empty.

    A memory BIO keeps the memory for the most bytes that it ever held, the
    certificates of a handshake for example. That is a tenth of the memory that
    TLS takes for a silent connection.
    """
    library, pointer = libssl(), get_connection_pointer(connection)
    for bio in (library.SSL_get_rbio(pointer), library.SSL_get_wbio(pointer)):
        if not library.BIO_ctrl(bio, _CTRL_PENDING, 0, None):
            fresh = library.BUF_MEM_new()
            if fresh:
                library.BIO_ctrl(bio, _SET_BUF_MEM, _CLOSE, fresh)


def put_close_notify(connection: ssl.SSLObject) -> None:
    """Put a close_notify behind the bytes that are to be sent.

    ``unwrap`` would also wait for the peer's close_notify, and fail without it:
    that costs twice as much.
    """
    if libssl().SSL_shutdown(get_connection_pointer(connection)) < 0:
        clear_errors()
