"""geomail: an SMTP, IMAP and POP3 proxy on gevent.

The map of the package, in the order a connection passes through it:

``process/``       the master; ``worker``, which accepts clients and hands them to ``session/``
``session/``       the flow of one client, from accept to close
``protocols/``     the dialogues: how clients and backends are spoken to
``conversation``   what a dialogue may do with a connection; ``Rehearsal``
``parties``        who takes part: client, login, refusal, certificates
``auth/``          who may log in, and by which route: one file per source
``backends/``      routes, and the connections that they lead to
``net/``           bytes: ``wire`` (one connection), ``relay`` (two of them), TLS, DNS, time
``events``         what happens in a session; ``sinks/`` read it (the log first)
``console/``       a process of its own, for operators; ``control/`` is what both ends of its socket speak
``config/``        TOML to a complete, frozen configuration
``preview/``       the handshake that ``session/`` would run, shown
``secrets``        keeps secrets out of text; ``hashes`` are those of passwords
``errors``         which side is to blame, and what the client may hear
"""

__version__ = "0.2.0"
