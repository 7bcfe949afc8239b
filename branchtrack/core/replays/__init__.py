"""Recordings of the changes that were made along a branch, to be made again elsewhere."""
