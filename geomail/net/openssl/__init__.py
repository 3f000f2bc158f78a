"""OpenSSL functions that ``ssl`` does not offer: ctypes on the libssl that ``ssl`` itself uses.

``binding``   finds the library, declares its functions, and tells whether they can be trusted
``contexts``  settings of a server's context, one function for each of nginx's directives
``sessions``  the session cache and the keys of session tickets
``peers``     facts of one connection: the result for the certificate, names, keys
``buffers``   the memory of a connection, and its close_notify

Ask :func:`binding.is_available` first; everything else here relies on it.
"""
