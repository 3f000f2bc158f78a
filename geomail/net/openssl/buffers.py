"""The bytes of a connection, as far as ``ssl`` does not reach them."""

from __future__ import annotations

import ssl

from geomail.net.openssl.binding import clear_errors, libssl, pointer_to_connection

_CTRL_PENDING, _SET_BUF_MEM = 10, 114
_CLOSE = 1


def give_back_buffers(connection: ssl.SSLObject) -> None:
    """Have the memory BIOs of a connection begin anew, where nothing is in them.

    A memory BIO keeps the room for the most that it ever held, a handshake's
    certificates say: of all that TLS costs a silent connection a tenth.
    """
    library, pointer = libssl(), pointer_to_connection(connection)
    for bio in (library.SSL_get_rbio(pointer), library.SSL_get_wbio(pointer)):
        if not library.BIO_ctrl(bio, _CTRL_PENDING, 0, None):
            fresh = library.BUF_MEM_new()
            if fresh:
                library.BIO_ctrl(bio, _SET_BUF_MEM, _CLOSE, fresh)


def put_close_notify(connection: ssl.SSLObject) -> None:
    """Put a close_notify behind what is to be sent.

    ``unwrap`` would ask for the peer's own as well, and fail without it: that
    costs as much again.
    """
    if libssl().SSL_shutdown(pointer_to_connection(connection)) < 0:
        clear_errors()
