"""The language of queries over runs and nodes: terms, their text, and whether they hold."""
