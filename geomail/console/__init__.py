"""The console: one process, apart from mail, that serves operators.

``process`` is the process itself. ``overview`` holds what it knows of the
server, ``audience`` the viewers of events and traces; ``link`` is the
connection to one worker, ``master_line`` the one to the master. ``control``
serves one client of the control socket, ``requests`` holds what such a client
may ask for, and ``metrics`` the pages for Prometheus. The master starts the
process, and starts it again when it dies: ``geomail/process/keeper.py``. It
does not serve mail, and mail never waits for it.
"""
