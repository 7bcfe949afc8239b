"""Commands that search all runs."""
