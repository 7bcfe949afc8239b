"""The client of the API: typed, blocking, and small."""
