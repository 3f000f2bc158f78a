"""From a TOML file to a complete, frozen configuration.

``schema``    the options: one model per table, nginx's names, defaults, one-line docs
``units``     sizes, times, flags and word lists as nginx writes them
``address``   addresses as nginx writes them
``load``      finds, reads and checks a file; all problems at once
``lines``     where in the file each key stands
``messages``  what the validation found, in an operator's words
``checks``    what no single option can tell: contradictions, and what is unwise
``probe``     what only this machine can tell: files, keys, names
``dump``      a configuration back to TOML
"""
