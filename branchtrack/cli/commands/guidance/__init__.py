"""Commands that print what agents read."""
