"""The ``geomail`` command: ``main`` holds the app, every command has a file of its own."""
