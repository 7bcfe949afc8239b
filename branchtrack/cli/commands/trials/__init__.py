"""Commands that answer whether a change was any good."""
