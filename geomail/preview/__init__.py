"""What geomail would say to a backend, before any client makes it say so.

``client``    the client that is imagined, and the server it comes to
``backend``   a backend that is imagined: what it would answer
``handshake`` the handshake that ``serve`` runs, rehearsed or for real
``plan``      all of it, from what the operator asked for

The command is ``geomail preview-handshake``.
"""
