"""Nodes that several processes make together."""
