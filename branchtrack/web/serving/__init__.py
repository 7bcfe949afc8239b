"""Listening: connections, their limits, and proxies in front."""
