"""Event streams: what is new of a run, sent to whoever listens."""
