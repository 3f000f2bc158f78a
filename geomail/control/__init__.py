"""The language of the control socket: clients and the console both use it."""
