"""The mail servers behind geomail: their settings, and how to reach them."""

from geomail.backends.endpoint import Backends, Endpoint

__all__ = ["Backends", "Endpoint"]
