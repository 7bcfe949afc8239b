"""Read models: much of a run in few statements, for pages, shell and API."""
