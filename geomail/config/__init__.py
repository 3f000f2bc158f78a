"""From a TOML file to a complete, frozen configuration.

``schema``    the options: one model per table, nginx's names, defaults, one-line docs
``values``    the types of the options: how a value is read, and how it is written back
``units``     sizes, times, flags and word lists as nginx writes them
``address``   addresses as nginx writes them
``listen``    where geomail listens, with all that nginx lets stand behind an address
``load``      finds, reads and checks a file; all problems at once
``lines``     where in the file each key stands
``messages``  what the validation found, in an operator's words
``checks``    what no single option can tell: contradictions, and what is unwise
``probe``     what only this machine can tell: files, keys, names
``routes``    what users and passthrough have in common
``users``     the file of ``auth = "users"``
``dump``      a configuration back to TOML
``nginx``     an nginx.conf to a geomail.toml
``manual``    the manual page of all this
"""
