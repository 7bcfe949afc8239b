"""Several processes in one training: the one that knows the record, and those that follow it."""
