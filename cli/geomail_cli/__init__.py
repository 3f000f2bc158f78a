"""The ``geomail`` command: ``main`` holds the app, and each subcommand has a file of its own."""
