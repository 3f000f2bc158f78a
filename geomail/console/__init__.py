"""The console: one process, apart from mail, for everything that operators look at.

``keeper`` is the master's side: the sockets, and the start again where the
console died. ``process`` is the process itself; ``link`` holds one worker's
feed, ``control`` one client of the control socket, ``requests`` what such a
client may ask for, and ``totals`` what the workers' counters come to. None of
it speaks mail, and no mail waits for it.
"""
