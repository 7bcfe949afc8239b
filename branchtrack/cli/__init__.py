"""The command line: one small module per family of commands. Nothing here decides about runs."""
