"""The SQL database: the record of every run, and the channel between processes."""
