"""The mail servers behind geomail: routes to them, their addresses and settings, and connections to them."""

from geomail.backends.dial import Attempt, Backends
from geomail.backends.routes import AddressRoute, NamedRoute, Route, SocketRoute

__all__ = ["AddressRoute", "Attempt", "Backends", "NamedRoute", "Route", "SocketRoute"]
