"""From a TOML file to a complete, frozen configuration.

``schema``     the options: one model per table, with nginx's names, defaults and one-line docs
``values``     the types of the options: how geomail reads a value, and how it writes it back
``units``      sizes, times, flags and word lists in nginx's form
``address``    addresses in nginx's form
``listen``     the option ``listen``, with nginx's parameters after an address
``load``       finds, reads and checks a file, and reports all problems at once
``source``     the content of a file, with the line of each key
``lines``      the line of each key in a TOML file
``messages``   messages for what the validation finds
``checks``     checks of several options together: contradictions, and what is unwise
``probe``      checks of this machine: files, keys, names
``routes``     what the auth sources users and passthrough have in common
``users``      the file of ``auth = "users"``
``dump``       writes a configuration back as TOML
``toml_text``  values and keys as TOML
``nginx``      converts an nginx.conf into a geomail.toml
``manual``     writes the manual page geomail.toml(5)
"""
