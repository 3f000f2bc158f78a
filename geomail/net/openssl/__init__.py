"""What TLS needs of OpenSSL and ``ssl`` does not offer: ctypes on the libssl that ``ssl`` itself uses.

``binding``   finds the library, declares its functions, and tells whether all of this can be trusted
``contexts``  settings of a server's context, one function for each of nginx's directives
``sessions``  the session cache and the keys of session tickets
``peers``     what one connection tells: verdict on the certificate, names, keys
``buffers``   the bytes of a connection: room that is given back, its last word

Ask :func:`binding.available` first; everything else here relies on it.
"""
