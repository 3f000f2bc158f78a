"""From an nginx.conf to a geomail.toml with the same meaning.

``statements``  reads the file and its includes as nginx does
``directives``  the directives of ``mail {}``, and the values that they become
``logs``        converts ``error_log``
``defaults``    nginx's defaults, where geomail's own differ
``convert``     turns statements into entries of a geomail.toml, and reports what is wrong or left out
``write``       writes the entries as text, each with its origin
"""

from geomail.config.nginx.convert import Conversion, convert

__all__ = ["Conversion", "convert"]
