"""Data that can be added to while a training reads it, in shards."""
