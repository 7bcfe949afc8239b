"""A process's part in a run, from its beginning to its end."""
