"""geomail: an SMTP, IMAP and POP3 proxy on gevent.

The map of the package, in the order a connection passes through it:

``worker``         listeners of one process; accepts, and hands to ``session``
``session``        the flow of one client, from accept to close
``protocols/``     the dialogues: how clients and backends are spoken to
``conversation``   what a dialogue may do with a connection; ``Rehearsal``
``auth/``          who may log in, and where to: one file per source
``backends/``      which address, connecting, TLS to the backend
``net/``           bytes: ``wire`` (one connection), ``relay`` (two of them), TLS, DNS, time
``events``         what happens in a session; ``sinks/`` read it (the log first)
``console/``       a process of its own: what happens, for those who watch and steer; ``sessions``
``config/``        TOML to a complete, frozen configuration
``certificates``   what TLS tells of a client, and the verdict on its certificate
``preview/``       the handshake that ``session`` would run, shown; ``mask`` hides secrets in answers
``build``          whether this is the compiled build, and of what else it is made
``errors``         who is to blame, and what the client may hear
"""

__version__ = "0.2.0"
