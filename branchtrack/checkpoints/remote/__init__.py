"""Packs in a bucket: requests, copies on this machine, and packs that wait to be uploaded."""
