"""geomail: an SMTP, IMAP and POP3 proxy on gevent.

The map of the package, in the order a connection passes through it:

``process/``       the master; ``worker``, which accepts clients and hands them to ``session/``
``session/``       the flow of one client, from accept to close
``protocols/``     the dialogues with clients and backends
``conversation``   all that a dialogue may do with a connection; ``Rehearsal``
``parties``        the parties of a session: client, login, refusal, certificate
``auth/``          decides about logins and their routes: one file per auth source
``backends/``      routes, and the connections that they lead to
``net/``           bytes: ``wire`` (one connection), ``relay`` (two of them), TLS, DNS, time
``events``         what happens in a session; ``sinks/`` read it (the log first)
``console/``       a process of its own, for operators; ``control/`` is the language of its socket
``config/``        TOML to a complete, frozen configuration
``preview/``       shows the handshake that ``session/`` would run
``secrets``        keeps secrets out of text; ``hashes`` are those of passwords
``errors``         every error: the side to blame, and what the client may learn
"""

__version__ = "0.2.0"
