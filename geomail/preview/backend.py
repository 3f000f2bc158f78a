"""The backend that a preview imagines: it accepts every handshake that its extensions allow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from geomail.protocols.registry import PROTOCOLS

if TYPE_CHECKING:
    from geomail.protocols.base import BackendTls, ImaginedBackend


def imagine(protocol: str, tls: BackendTls, offers: Sequence[str]) -> ImaginedBackend:
    """Return a fresh backend of a protocol; it offers STARTTLS only where ``tls`` is ``starttls``."""
    if tls != "starttls":
        offers = choose_offers(offers, without=("STARTTLS",))
    return PROTOCOLS[protocol].imagine_backend(offers)


def choose_offers(
    usual: Iterable[str], given: Iterable[str] = (), without: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the usual extensions and those given; a given one replaces the usual one of its keyword.

    Extensions whose keyword is in ``without`` are left out.
    """
    by_keyword = {_keyword(offer): offer for offer in (*usual, *given)}
    for keyword in without:
        by_keyword.pop(_keyword(keyword), None)
    return tuple(by_keyword.values())


def _keyword(offer: str) -> str:
    return offer.split()[0].upper()
