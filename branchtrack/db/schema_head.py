"""The revision of the schema that this version works with, for code that loads nothing else."""

#: The newest revision in `migrations/versions` (a test compares them).
HEAD = "0011"
