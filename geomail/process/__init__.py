"""The processes of a server: the master, its workers and its console, and how they start and end."""
