"""The command line: a module for each family of commands. It decides nothing about runs."""
