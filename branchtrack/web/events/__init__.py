"""Event streams: what is new in a run, sent to its readers."""
