"""The dialogues of each protocol: with clients before the relay, and with new backends.

``facts``         the facts of each protocol, as data
``registry``      the class of each protocol
``base``          the interface of these classes
``dialogue``      the code that all dialogues share
``sasl``          the mechanisms
``proxy_header``  the PROXY protocol

Each protocol is a module or a folder with a frontend and a ``handshake``. A
new protocol is one more folder, and one more entry in ``facts``. Importing
this package imports no dialogue, so that other code can import ``facts`` alone.
"""
