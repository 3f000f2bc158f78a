"""Previews of handshakes: what geomail says to a backend for a client.

``client``    an imagined client, and the server that it connects to
``backend``   an imagined backend
``handshake`` the handshake that ``serve`` runs, with an imagined or a real backend
``plan``      a whole preview, as the operator asks for it

The command is ``geomail preview-handshake``.
"""
