"""From an nginx.conf to a geomail.toml that means the same.

``statements``  the file and its includes, as nginx reads them
``directives``  what each directive of ``mail {}`` becomes
``convert``     from statements to entries of a geomail.toml, with everything that is wrong or left behind
``write``       the entries as text, each with where it comes from
"""

from geomail.config.nginx.convert import Conversion, convert

__all__ = ["Conversion", "convert"]
