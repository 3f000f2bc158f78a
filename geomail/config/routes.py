"""The domain of a user name, for routes by domain."""

from __future__ import annotations


def get_domain(address: bytes) -> bytes:
    """Return the text after the last ``@`` in lower case, without a trailing dot; empty without ``@``."""
    return address.rpartition(b"@")[2].lower().removesuffix(b".") if b"@" in address else b""
