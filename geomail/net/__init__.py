"""Bytes: connections, the relay between two of them, TLS, DNS, time limits."""
