"""The commands that carry out examples."""
