"""Replays: a recording fitted to a training, and its changes sent as scheduled requests."""
