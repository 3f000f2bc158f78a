"""The sinks: the log in its three forms, the counters, and the feed to the console."""
