"""Notices: what one process tells others at once, where the database passes it on."""
