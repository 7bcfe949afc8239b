"""Agents: what they see, decide and may spend, as values."""
