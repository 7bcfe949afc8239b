"""Commits for a bucket: kept on this machine, uploaded and recorded later."""
