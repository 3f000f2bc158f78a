"""What routes by domain go by."""

from __future__ import annotations


def get_domain(address: bytes) -> bytes:
    """What follows the last ``@``, lower-cased, without a trailing dot; empty if there is no ``@``."""
    return address.rpartition(b"@")[2].lower().removesuffix(b".") if b"@" in address else b""
