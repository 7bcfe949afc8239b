"""Trials: ordered, trained pair by pair, judged, cancelled, removed, and their winners kept."""
