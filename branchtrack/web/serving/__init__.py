"""The server: connections, their limits, and proxies in front of it."""
