"""The dialogues of each protocol: with clients before the relay, and with fresh backends.

``facts``     what is known of each protocol, as data
``registry``  the class of each protocol
``base``      what each of these classes has
``dialogue``  what the dialogues share, ``sasl`` the mechanisms
``proxy_header`` the PROXY protocol

Each protocol is a module or a folder with a frontend and a ``handshake``. A
new one is one more folder, and one more entry in ``facts``. Importing this
package imports no dialogue, so that ``facts`` can be had alone.
"""
