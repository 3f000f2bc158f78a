"""The processes of a server: the master, its workers and companions, and what they are started with."""
